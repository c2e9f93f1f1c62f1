"""A token store made of a small corpus and a tokenizer, by the stages that make them."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from hanlin.batches.store import TokenStore, build_store
from hanlin.corpus.config import CorpusConfig
from hanlin.corpus.pipeline import build_corpus
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer

WORDS = [
    "river",
    "stone",
    "light",
    "paper",
    "garden",
    "winter",
    "letter",
    "answer",
    "春水",
    "学士",
    "文章",
    "图书",
]


@dataclass(frozen=True)
class Made:
    """A corpus, its tokenizer, and the store of the two."""

    corpus: Path
    tokenizer: Tokenizer
    folder: Path

    @property
    def store(self) -> TokenStore:
        return TokenStore(self.folder)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("batches")
    draw = random.Random(1)
    rows = [" ".join(draw.choices(WORDS, k=12)) + f" <|endoftext|> {n}." for n in range(60)]
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows), "utf-8")
    config = CorpusConfig.model_validate(
        {"sources": [str(folder / "texts.jsonl")], "split": {"valid": 0.2, "test": 0.2},
         "filters": {"max_symbol_share": 1}, "deduplicate": {"near": "off"}}
    )  # fmt: skip
    build_corpus(config, folder / "corpus")
    save_trained(train_bpe(rows, TokenizerConfig(vocab_size=300)), folder / "tokenizer")
    tokenizer = Tokenizer.load(folder / "tokenizer")
    build_store(folder / "corpus", tokenizer, folder / "tokens")
    return Made(folder / "corpus", tokenizer, folder / "tokens")

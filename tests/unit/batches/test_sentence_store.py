"""A store that knows where sentences begin, in Chinese and in English, by source."""

import json
from itertools import pairwise

import numpy as np
import pytest

from hanlin.batches.store import TokenStore, build_store
from hanlin.corpus.config import CorpusConfig
from hanlin.corpus.pipeline import build_corpus
from hanlin.corpus.sentences import cut_at_sentences, split_sentences
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer

TEXTS = {
    "zh.jsonl": [f"今天是第{n}天。天气很好！我们去公园吧？好。" for n in range(30)],
    "en.jsonl": [f"This is day {n}. Dr. Li reads a book! Shall we go?  Yes." for n in range(30)],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sentences")
    for name, texts in TEXTS.items():
        lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
        (folder / name).write_text("\n".join(lines) + "\n", "utf-8")
    config = CorpusConfig.model_validate(
        {"sources": [str(folder / name) for name in TEXTS], "split": {"valid": 0.2, "test": 0.2},
         "filters": {"min_characters": 1, "max_symbol_share": 1}, "deduplicate": {"near": "off"}}
    )  # fmt: skip
    build_corpus(config, folder / "corpus")
    save_trained(
        train_bpe([text for texts in TEXTS.values() for text in texts], TokenizerConfig(vocab_size=320)), folder / "t"
    )  # fmt: skip
    build_store(folder / "corpus", Tokenizer.load(folder / "t"), folder / "tokens", sentences=True)
    return TokenStore(folder / "tokens"), Tokenizer.load(folder / "t")


@pytest.mark.parametrize("sources", [(), ("*zh*",), ("*en*",)])
def test_sentences_are_those_of_the_text(store, sources):
    opened, tokenizer = store
    tokens, starts = opened.tokens("train", sources), opened.sentence_starts("train", sources)
    begins = np.flatnonzero(tokens == opened.begin_id)
    assert len(begins) > 5
    for begin, end in pairwise(begins):
        text = tokenizer.decode(tokens[begin + 1 : end])
        own = starts[(starts > begin) & (starts < end)]
        assert own[0] == begin + 1
        sentences = [
            tokenizer.decode(tokens[start:stop]) for start, stop in zip(own, [*own[1:], end], strict=True)
        ]
        assert len(sentences) == 4
        assert [sentence.strip() for sentence in sentences] == split_sentences(text)
    assert starts.max() < len(tokens)


def test_without_sentences_it_is_the_store_that_it_was(store, made):
    assert "sentences" not in made.store.manifest.config
    assert not (made.folder / "train.sentences.bin").exists()
    with pytest.raises(AssertionError, match="without sentences"):
        made.store.sentence_starts("train")


@pytest.mark.parametrize("text", ["", " ", "一。二！ 三", "A b. C d!  E\n\nf.\n", " a. B"])
def test_pieces_of_one_sentence_are_the_text(text):
    pieces = cut_at_sentences(text)
    assert "".join(pieces) == text
    assert len(pieces) == max(1, len(split_sentences(text)))
    assert [piece.strip() for piece in pieces if piece.strip()] == split_sentences(text)

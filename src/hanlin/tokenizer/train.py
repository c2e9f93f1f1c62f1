"""The tokenizer stage: a corpus folder in, a tokenizer folder out."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from hanlin.base.files import atomic_folder, write_text
from hanlin.base.manifest import Manifest, read_manifest, write_manifest
from hanlin.base.progress import track
from hanlin.base.records import Split
from hanlin.corpus.shards import count_documents, read_documents
from hanlin.tokenizer.bpe import no_text, save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.measure import measure_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer

_PASSAGE = 10_000
"""Characters of the passages that a sample is made of."""


def build_tokenizer(config: TokenizerConfig, corpus_folder: Path, folder: Path) -> Manifest:
    """Train on the train split of `corpus_folder`, examine on its other splits, write everything to `folder`.

    Writes `tokenizer.json`, `tokenizer_config.json`, `chat_template.jinja`, `report.json` and
    `hanlin.json`; the same corpus and settings give the same bytes. Raises `DataError` when the corpus is
    empty or yields fewer tokens than `config.vocab_size` (unless `config.on_small` is "shrink").
    """
    corpus = read_manifest(corpus_folder, "corpus")
    sample = _Sample(config.max_characters, corpus_folder)
    trained = train_bpe(sample.texts(), config)
    with atomic_folder(folder) as fresh:
        save_trained(trained, fresh)
        tokenizer = Tokenizer.load(fresh)
        report = measure_tokenizer(tokenizer, _held_out(corpus_folder)).model_dump()
        report["training"] = {
            "vocab_size": tokenizer.vocab_size,
            "characters_in_corpus": sample.characters_in_corpus,
            "characters_used": sample.characters_used,
        }
        write_text(fresh / "report.json", json.dumps(report, ensure_ascii=False, indent=1) + "\n")
        return write_manifest(
            fresh, "tokenizer", config.model_dump(mode="json"), {"corpus": corpus.fingerprint}, report
        )


class _Sample:
    """At most about `max_characters` of the train split, drawn evenly in passages, the same ones every time.

    Passages rather than documents, because one document may be a whole library.
    """

    def __init__(self, max_characters: int, corpus_folder: Path) -> None:
        self._folder = corpus_folder
        self.characters_used = 0
        documents = read_documents(corpus_folder, "train")
        self.characters_in_corpus = sum(len(document.text) for document in documents)
        if self.characters_in_corpus == 0:
            raise no_text(str(corpus_folder))
        self._share = min(1.0, max_characters / self.characters_in_corpus)

    def texts(self) -> Iterator[str]:
        documents = read_documents(self._folder, "train")
        for document in track(documents, "tokenizer", count_documents(self._folder, "train")):
            for start in range(0, len(document.text), _PASSAGE):
                if self._share == 1.0 or self._draws(f"{document.id}/{start}"):
                    passage = document.text[start : start + _PASSAGE]
                    self.characters_used += len(passage)
                    yield passage

    def _draws(self, name: str) -> bool:
        digest = hashlib.sha256(name.encode()).digest()
        return int.from_bytes(digest[:8], "big") < self._share * 2**64


def _held_out(corpus_folder: Path) -> Iterator[str]:
    """Texts that the tokenizer was not trained on; of the train split where the corpus has no other."""
    others: tuple[Split, ...] = ("valid", "test")
    held_out = [split for split in others if count_documents(corpus_folder, split)]
    splits: list[Split] = held_out or ["train"]
    for split in splits:
        yield from (document.text for document in read_documents(corpus_folder, split))

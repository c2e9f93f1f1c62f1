"""The tokenizer stage: a corpus folder in, a tokenizer folder out."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from hanlin.base.files import atomic_folder, write_text
from hanlin.base.manifest import Manifest, read_manifest, write_manifest
from hanlin.base.progress import track
from hanlin.base.records import Document, Split
from hanlin.corpus.shards import count_documents, read_documents
from hanlin.tokenizer.bpe import no_text, save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.measure import measure_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer


def build_tokenizer(config: TokenizerConfig, corpus_folder: Path, folder: Path) -> Manifest:
    """Train on the train split of `corpus_folder`, examine on its other splits, and write everything into
    `folder`.

    Writes `tokenizer.json`, `tokenizer_config.json`, `chat_template.jinja`, `report.json` and
    `hanlin.json`; the same corpus and settings give the same bytes. Raises `DataError` when the corpus is
    empty or yields fewer tokens than `config.vocab_size` (unless `config.on_small` is "shrink").
    """
    corpus = read_manifest(corpus_folder, "corpus")
    share, total = _share(config, corpus_folder)
    documents = _sample(corpus_folder, share)
    count = count_documents(corpus_folder, "train")
    trained = train_bpe((document.text for document in track(documents, "tokenizer", count)), config)
    with atomic_folder(folder) as fresh:
        save_trained(trained, fresh)
        tokenizer = Tokenizer.load(fresh)
        report = measure_tokenizer(tokenizer, _held_out(corpus_folder)).model_dump()
        report["training"] = {
            "characters_in_corpus": total,
            "share_used": share,
            "vocab_size": tokenizer.vocab_size,
        }
        write_text(fresh / "report.json", json.dumps(report, ensure_ascii=False, indent=1) + "\n")
        return write_manifest(
            fresh, "tokenizer", config.model_dump(mode="json"), {"corpus": corpus.fingerprint}, report
        )


def _share(config: TokenizerConfig, corpus_folder: Path) -> tuple[float, int]:
    """The share of documents to train on, and the characters of the train split. Raises `DataError` if
    there are none."""
    total = sum(len(document.text) for document in read_documents(corpus_folder, "train"))
    if total == 0:
        raise no_text(str(corpus_folder))
    return min(1.0, config.max_characters / total), total


def _sample(corpus_folder: Path, share: float) -> Iterator[Document]:
    """The documents of the train split whose digest falls into `share`: evenly drawn, the same ones every
    time."""
    bound = int(share * 2**64)
    for document in read_documents(corpus_folder, "train"):
        if int.from_bytes(hashlib.sha256(document.id.encode()).digest()[:8], "big") < bound or share == 1.0:
            yield document


def _held_out(corpus_folder: Path) -> Iterator[str]:
    """Texts that the tokenizer was not trained on; of the train split where the corpus has no other."""
    others: tuple[Split, ...] = ("valid", "test")
    held_out = [split for split in others if count_documents(corpus_folder, split)]
    splits: list[Split] = held_out or ["train"]
    for split in splits:
        yield from (document.text for document in read_documents(corpus_folder, split))

"""The tokenizer stage: a corpus folder in, a tokenizer folder out."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import tokenizers

from hanlin.base.files import atomic_folder, write_text
from hanlin.base.language import Text
from hanlin.base.manifest import Manifest, read_manifest, write_manifest
from hanlin.base.progress import console, track
from hanlin.base.records import Document, Split
from hanlin.corpus.shards import count_documents, read_documents
from hanlin.tokenizer.bpe import train_bpe, untrained_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.measure import measure_tokenizer
from hanlin.tokenizer.memory import affordable_characters, safe_characters
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.special import ModelName
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.unigram import train_unigram, untrained_unigram
from hanlin.tokenizer.vocabulary import no_text
from hanlin.tokenizer.wordpiece import train_wordpiece, untrained_wordpiece

_TRAIN: dict[ModelName, Callable[[Iterable[str], TokenizerConfig], tokenizers.Tokenizer]] = {
    "bpe": train_bpe,
    "wordpiece": train_wordpiece,
    "unigram": train_unigram,
}
_UNTRAINED: dict[ModelName, Callable[[TokenizerConfig], tokenizers.Tokenizer]] = {
    "bpe": untrained_bpe,
    "wordpiece": untrained_wordpiece,
    "unigram": untrained_unigram,
}

_PASSAGE = 10_000
"""Characters of the passages that a sample is made of."""

_FITTED = 1_000_000
"""Characters from which the memory of training is foretold."""


def build_tokenizer(config: TokenizerConfig, corpus_folder: Path, folder: Path) -> Manifest:
    """Train on the train split of `corpus_folder`, examine on its other splits, write everything to `folder`.

    Writes `tokenizer.json`, `tokenizer_config.json`, `chat_template.jinja`, `report.json` and
    `hanlin.json`; the same corpus and settings give the same bytes. Raises `DataError` when the corpus is
    empty or yields fewer tokens than `config.vocab_size` (unless `config.on_small` is "shrink").
    """
    corpus = read_manifest(corpus_folder, "corpus")
    sample = _Sample(config, corpus_folder)
    trained = _TRAIN[config.model](sample, config)
    with atomic_folder(folder) as fresh:
        save_tokenizer(trained, config.model, fresh)
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


def train_on(texts: Iterable[str], config: TokenizerConfig, folder: Path) -> Tokenizer:
    """A tokenizer of all of some texts, its files in `folder`, without report. Raises `DataError` as `build_tokenizer`."""
    save_tokenizer(_TRAIN[config.model](texts, config), config.model, folder)
    return Tokenizer.load(folder)


class _Sample:
    """At most about `max_characters` of the train split, drawn evenly in passages, the same ones every time,
    and no more than can be trained on in `memory_gb`.

    Passages rather than documents, because one document may be a whole library.
    """

    def __init__(self, config: TokenizerConfig, corpus_folder: Path) -> None:
        self._folder = corpus_folder
        self.characters_used = 0
        documents = read_documents(corpus_folder, "train")
        self.characters_in_corpus = sum(len(document.text) for document in documents)
        if self.characters_in_corpus == 0:
            raise no_text(str(corpus_folder))
        wanted = min(config.max_characters, self.characters_in_corpus)
        self._share = min(wanted, self._affordable(wanted, config)) / self.characters_in_corpus

    def __iter__(self) -> Iterator[str]:
        """The passages, counted in `characters_used`."""
        self.characters_used = 0
        documents = read_documents(self._folder, "train")
        for document in track(documents, "tokenizer", count_documents(self._folder, "train")):
            for passage in self._passages(document, self._share):
                self.characters_used += len(passage)
                yield passage

    def _affordable(self, wanted: int, config: TokenizerConfig) -> int:
        """The characters that fit into `memory_gb`; says so when they are fewer than `wanted`."""
        budget = config.memory_gb * 1e9
        if wanted <= safe_characters(budget, config.model):
            return wanted
        untrained = _UNTRAINED[config.model](config)

        def pieces(text: str) -> Iterator[str]:
            if untrained.normalizer is not None:
                text = untrained.normalizer.normalize_str(text)
            return (piece for piece, _ in untrained.pre_tokenizer.pre_tokenize_str(text))

        share = min(wanted, _FITTED) / self.characters_in_corpus
        documents = read_documents(self._folder, "train")
        fitted = (passage for document in documents for passage in self._passages(document, share))
        affordable = affordable_characters(fitted, pieces, budget, config.model)
        if affordable < wanted:
            console.print(str(_less(affordable, wanted, config.memory_gb)), highlight=False, markup=False)
        return affordable

    def _passages(self, document: Document, share: float) -> Iterator[str]:
        for start in range(0, len(document.text), _PASSAGE):
            if share == 1.0 or _place(f"{document.id}/{start}") < share:
                yield document.text[start : start + _PASSAGE]


def _place(name: str) -> float:
    """Where in [0, 1) a passage lies: a share of a corpus is the passages below it."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def _less(affordable: int, wanted: int, memory_gb: float) -> Text:
    return Text(
        f"tokenizer: {wanted:,} characters would need more than {memory_gb:g} GB; about {affordable:,} are "
        "drawn evenly. Set tokenizer.memory_gb to change this.",
        f"tokenizer：{wanted:,} 个字符所需内存超过 {memory_gb:g} GB；均匀抽取约 {affordable:,} 个。"
        "可用 tokenizer.memory_gb 调整。",
    )


def _held_out(corpus_folder: Path) -> Iterator[str]:
    """Texts that the tokenizer was not trained on; of the train split where the corpus has no other."""
    others: tuple[Split, ...] = ("valid", "test")
    held_out = [split for split in others if count_documents(corpus_folder, split)]
    splits: list[Split] = held_out or ["train"]
    for split in splits:
        yield from (document.text for document in read_documents(corpus_folder, split))

"""The token store: one flat file of ids a split, memory-mapped, so that training never waits for text.

Every document is written as begin token + its ids, and one last begin token closes the split. The begin
token can not come from text, so it alone marks the boundaries; predicting it means "the document ends".
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from fnmatch import fnmatchcase
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from hanlin.base.errors import CheckpointError, DataError
from hanlin.base.files import atomic_folder, disk_errors
from hanlin.base.language import Text
from hanlin.base.manifest import Manifest, read_manifest, verify_files, write_manifest
from hanlin.base.progress import track
from hanlin.base.records import SPLITS, Document, Split
from hanlin.corpus.sentences import cut_at_sentences
from hanlin.corpus.shards import count_documents, read_documents
from hanlin.tokenizer.tokenizer import Tokenizer

Ids = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]

_DOCUMENTS_AT_ONCE = 256


def id_dtype(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    """The narrowest unsigned integer that holds every id."""
    return np.uint16 if vocab_size <= 2**16 else np.uint32


def store_config(tokenizer: Tokenizer, sentences: bool) -> dict[str, int | bool]:
    """The configuration of a store. sentences: whether it says where sentences begin."""
    config = {"begin_id": tokenizer.eos_id, "vocab_size": tokenizer.vocab_size}
    return {**config, "sentences": True} if sentences else config


def build_store(corpus: Path, tokenizer: Tokenizer, folder: Path, sentences: bool = False) -> Manifest:
    """Encode every split of `corpus` into `folder`; raise `DataError` if the training split is empty.

    With `sentences` each sentence is encoded by itself, with the space before it, and the places where they begin
    are kept.
    """
    with atomic_folder(folder) as fresh, disk_errors(folder):
        report = {str(split): _encode_split(corpus, tokenizer, split, fresh, sentences) for split in SPLITS}
        if not report["train"]["documents"]:
            raise DataError(
                Text(f"The corpus {corpus} has no training documents.", f"语料 {corpus} 中没有训练文档。"),
                Text(
                    "Add text, or lower the validation and test shares.",
                    "请增加文本，或降低验证集与测试集的比例。",
                ),
            )
        return write_manifest(
            fresh,
            "token store",
            store_config(tokenizer, sentences),
            inputs={"corpus": read_manifest(corpus).fingerprint, "tokenizer": tokenizer.fingerprint},
            report=report,
        )


def _encode_split(
    corpus: Path, tokenizer: Tokenizer, split: Split, folder: Path, sentences: bool
) -> dict[str, int]:
    documents = tokens = size = 0
    sources, dtype = list[tuple[str, int]](), id_dtype(tokenizer.vocab_size)
    with open(folder / f"{split}.bin", "wb") as file, _starts_file(folder, split, sentences) as starts:
        stream = track(read_documents(corpus, split), f"tokens ({split})", count_documents(corpus, split))
        while some := list(islice(stream, _DOCUMENTS_AT_ONCE)):
            for document, pieces in zip(some, _encoded(some, tokenizer, sentences), strict=True):
                if not sources or sources[-1][0] != document.source:
                    sources.append((document.source, tokens))
                file.write(np.array([tokenizer.eos_id, *chain(*pieces)], dtype).tobytes())
                stops = tokens + 1 + np.cumsum([0, *map(len, pieces)])
                if starts is not None:
                    starts.write(stops[:-1].astype(np.int64).tobytes())
                tokens = int(stops[-1])
            documents += len(some)
            size += sum(len(document.text.encode()) for document in some)
        file.write(np.array([tokenizer.eos_id], dtype).tobytes())
    _sources_file(folder, split).write_text(json.dumps(sources, ensure_ascii=False) + "\n", "utf-8")
    return {"documents": documents, "tokens": tokens, "bytes": size}


def _encoded(
    documents: Sequence[Document], tokenizer: Tokenizer, sentences: bool
) -> Iterator[list[list[int]]]:
    """The ids of each document: of each of its sentences that has any, or of the whole as one piece."""
    cut = [cut_at_sentences(one.text) if sentences else [one.text] for one in documents]
    ids = iter(tokenizer.encode_batch([piece for pieces in cut for piece in pieces]))
    for pieces in cut:
        yield [some for some in islice(ids, len(pieces)) if some]


def _starts_file(folder: Path, split: Split, wanted: bool) -> AbstractContextManager[BinaryIO | None]:
    """Where each sentence begins, as a place in the file of the split: int64."""
    return open(folder / f"{split}.sentences.bin", "wb") if wanted else nullcontext()


def _sources_file(folder: Path, split: Split) -> Path:
    """Each run of documents of one source: its name, and the place of its first token."""
    return folder / f"{split}.sources.json"


class TokenStore:
    """A token store opened for reading."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder, "token store")
        self.begin_id: int = self.manifest.config["begin_id"]
        self.vocab_size: int = self.manifest.config["vocab_size"]
        self._dtype = np.dtype(id_dtype(self.vocab_size))

    @property
    def fingerprint(self) -> str:
        """What is in the store."""
        return self.manifest.fingerprint

    def verify(self) -> None:
        """Check all checksums; raise `CheckpointError` if a file is damaged."""
        verify_files(self.folder, self.manifest)

    def tokens(self, split: Split, sources: Sequence[str] = ()) -> Ids:
        """All ids of a split, memory-mapped: begin, document, begin, document, ..., begin.

        sources: patterns such as `*poems*`; only documents of sources that match one, in memory. Raises `DataError`
        for a pattern that matches none.
        """
        path = self.folder / f"{split}.bin"
        expected = (self.manifest.report[split]["tokens"] + 1) * self._dtype.itemsize
        if not path.is_file() or path.stat().st_size != expected:
            raise CheckpointError(
                Text(f"{path} is missing or cut short.", f"{path} 不存在或不完整。"),
                Text(
                    "Delete the folder and run again to encode the corpus anew.",
                    "请删除该目录后重新运行以重新编码语料。",
                ),
            )
        tokens: Ids = np.memmap(path, self._dtype, "r")
        return self._of_sources(tokens, split, sources) if sources else tokens

    def sentence_starts(self, split: Split, sources: Sequence[str] = ()) -> npt.NDArray[np.int64]:
        """Where in `tokens(split, sources)` each sentence begins; of a store that was built with sentences."""
        assert self.manifest.config.get("sentences"), "the store was built without sentences"
        path = self.folder / f"{split}.sentences.bin"
        empty = not path.stat().st_size
        starts = np.empty(0, np.int64) if empty else np.memmap(path, np.int64, "r")
        if not sources:
            return starts
        chosen, place = list[npt.NDArray[np.int64]](), 0
        for start, stop in self._runs(split, sources):
            first, last = np.searchsorted(starts, (start, stop))
            chosen.append(starts[first:last] - start + place)
            place += stop - start
        return np.concatenate(chosen)

    def _of_sources(self, tokens: Ids, split: Split, patterns: Sequence[str]) -> Ids:
        chosen = [tokens[start:stop] for start, stop in self._runs(split, patterns)]
        return np.concatenate([*chosen, tokens[-1:]])

    def _runs(self, split: Split, patterns: Sequence[str]) -> list[tuple[int, int]]:
        """First and last + 1 place of each run of documents whose source matches a pattern."""
        path = _sources_file(self.folder, split)
        if not path.is_file():
            raise CheckpointError(
                Text(f"{self.folder} does not say which source its tokens come from.", f"{self.folder} 没有记录词元的来源。"),
                Text("Delete the folder and run again to encode the corpus anew.", "请删除该目录后重新运行以重新编码语料。"),
            )  # fmt: skip
        runs = json.loads(path.read_text("utf-8"))
        stops = [start for _, start in runs[1:]] + [self.manifest.report[split]["tokens"]]
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name, _ in runs):
                names = ", ".join(sorted({name for name, _ in runs})[:8])
                raise DataError(
                    Text(f"No document of the split {split} comes from a source like '{pattern}'.",
                         f"{split} 部分没有来自“{pattern}”的文档。"),
                    Text(f"The sources are: {names} ...", f"已有来源：{names}……"),
                )  # fmt: skip
        return [
            (start, stop)
            for (name, start), stop in zip(runs, stops, strict=True)
            if any(fnmatchcase(name, pattern) for pattern in patterns)
        ]

    def documents(self, split: Split) -> Iterator[Ids]:
        """The ids of each document, without begin tokens."""
        tokens = self.tokens(split)
        starts = np.flatnonzero(tokens == self.begin_id)
        for start, stop in pairwise(starts):
            yield tokens[start + 1 : stop]

    def bytes(self, split: Split) -> int:
        """UTF-8 bytes of the text of a split."""
        size: int = self.manifest.report[split]["bytes"]
        return size

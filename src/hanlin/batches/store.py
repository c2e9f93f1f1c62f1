"""The token store: one flat file of ids a split, memory-mapped, so that training never waits for text.

Every document is written as begin token + its ids, and one last begin token closes the split. The begin
token can not come from text, so it alone marks the boundaries; predicting it means "the document ends".
"""

import json
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hanlin.base.errors import CheckpointError, DataError
from hanlin.base.files import atomic_folder, disk_errors
from hanlin.base.language import Text
from hanlin.base.manifest import Manifest, read_manifest, verify_files, write_manifest
from hanlin.base.progress import track
from hanlin.base.records import SPLITS, Split
from hanlin.corpus.shards import count_documents, read_documents
from hanlin.tokenizer.tokenizer import Tokenizer

Ids = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]

_DOCUMENTS_AT_ONCE = 256


def id_dtype(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    """The narrowest unsigned integer that holds every id."""
    return np.uint16 if vocab_size <= 2**16 else np.uint32


def build_store(corpus: Path, tokenizer: Tokenizer, folder: Path) -> Manifest:
    """Encode every split of `corpus` into `folder`; raise `DataError` if the training split is empty."""
    dtype = id_dtype(tokenizer.vocab_size)
    with atomic_folder(folder) as fresh, disk_errors(folder):
        report = {
            str(split): _encode_split(corpus, tokenizer, split, fresh / f"{split}.bin", dtype)
            for split in SPLITS
        }
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
            {"begin_id": tokenizer.eos_id, "vocab_size": tokenizer.vocab_size},
            inputs={"corpus": read_manifest(corpus).fingerprint, "tokenizer": tokenizer.fingerprint},
            report=report,
        )


def _encode_split(
    corpus: Path, tokenizer: Tokenizer, split: Split, path: Path, dtype: type[np.uint16] | type[np.uint32]
) -> dict[str, int]:
    documents = tokens = size = 0
    sources = list[tuple[str, int]]()
    with open(path, "wb") as file:
        stream = track(read_documents(corpus, split), f"tokens ({split})", count_documents(corpus, split))
        while some := list(islice(stream, _DOCUMENTS_AT_ONCE)):
            for document, ids in zip(some, tokenizer.encode_batch([one.text for one in some]), strict=True):
                if not sources or sources[-1][0] != document.source:
                    sources.append((document.source, tokens))
                file.write(np.array([tokenizer.eos_id, *ids], dtype).tobytes())
                tokens += len(ids) + 1
            documents += len(some)
            size += sum(len(document.text.encode()) for document in some)
        file.write(np.array([tokenizer.eos_id], dtype).tobytes())
    _sources_file(path.parent, split).write_text(json.dumps(sources, ensure_ascii=False) + "\n", "utf-8")
    return {"documents": documents, "tokens": tokens, "bytes": size}


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

    def _of_sources(self, tokens: Ids, split: Split, patterns: Sequence[str]) -> Ids:
        path = _sources_file(self.folder, split)
        if not path.is_file():
            raise CheckpointError(
                Text(f"{self.folder} does not say which source its tokens come from.", f"{self.folder} 没有记录词元的来源。"),
                Text("Delete the folder and run again to encode the corpus anew.", "请删除该目录后重新运行以重新编码语料。"),
            )  # fmt: skip
        runs = json.loads(path.read_text("utf-8"))
        stops = [start for _, start in runs[1:]] + [len(tokens) - 1]
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name, _ in runs):
                names = ", ".join(sorted({name for name, _ in runs})[:8])
                raise DataError(
                    Text(f"No document of the split {split} comes from a source like '{pattern}'.",
                         f"{split} 部分没有来自“{pattern}”的文档。"),
                    Text(f"The sources are: {names} ...", f"已有来源：{names}……"),
                )  # fmt: skip
        chosen = [
            tokens[start:stop]
            for (name, start), stop in zip(runs, stops, strict=True)
            if any(fnmatchcase(name, pattern) for pattern in patterns)
        ]
        return np.concatenate([*chosen, tokens[-1:]])

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

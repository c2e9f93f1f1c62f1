"""Parquet shards of documents: `<split>/00000.parquet` and so on, written in order and read back as a stream."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hanlin.base.errors import CheckpointError, MissingExtra
from hanlin.base.language import Text
from hanlin.base.manifest import read_manifest
from hanlin.base.records import SPLITS, Document, Split

_COLUMNS = ("id", "text", "source", "language", "licence", "split")
_ROW_GROUP_CHARACTERS = 2_000_000
_ROWS_AT_ONCE = 128


def _parquet() -> Any:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra(Text("Reading and writing corpora", "读写语料"), "data") from error
    return pq


class ShardWriter:
    """Writes the documents of one split; opens a new shard after `shard_characters` characters."""

    def __init__(self, folder: Path, split: Split, shard_characters: int) -> None:
        import pyarrow as pa

        self._pa, self._pq = pa, _parquet()
        self._schema = pa.schema([(name, pa.string()) for name in _COLUMNS])
        self._folder = folder / split
        self._split = split
        self._shard_characters = shard_characters
        self._rows: list[Document] = []
        self._rows_characters = 0
        self._writer: Any = None
        self._written = 0
        self._shards = 0

    def write(self, document: Document) -> None:
        """Take one document of this split."""
        self._rows.append(document)
        self._rows_characters += len(document.text)
        if self._rows_characters >= min(_ROW_GROUP_CHARACTERS, self._shard_characters):
            self._write_rows()
        if self._written >= self._shard_characters:
            self._close_shard()

    def close(self) -> None:
        """Write what is held and finish the last shard."""
        if self._rows:
            self._write_rows()
        self._close_shard()

    def _write_rows(self) -> None:
        if self._writer is None:
            self._folder.mkdir(exist_ok=True)
            path = self._folder / f"{self._shards:05d}.parquet"
            self._writer = self._pq.ParquetWriter(path, self._schema, compression="zstd")
            self._shards += 1
        columns = {name: [getattr(row, name) for row in self._rows] for name in _COLUMNS[:-1]}
        columns["split"] = [self._split] * len(self._rows)
        self._writer.write_table(self._pa.table(columns, schema=self._schema))
        self._written += self._rows_characters
        self._rows, self._rows_characters = [], 0

    def _close_shard(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._written = None, 0


def read_documents(folder: Path, split: Split | None = None) -> Iterator[Document]:
    """Yield the documents of a corpus folder, of one split or of all (train, valid, test), in stable order.

    Memory stays bounded by one row group. Raises `CheckpointError` if the folder is no corpus or a shard is damaged.
    """
    pq = _parquet()
    for path in _shards(folder, split):
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                    for row in batch.to_pylist():
                        yield Document.model_construct(**row)
        except (OSError, ValueError) as error:  # pyarrow's errors derive from these
            raise _damaged(path, error) from error


def count_documents(folder: Path, split: Split | None = None) -> int:
    """How many documents a corpus folder holds, from the shards' metadata; raises as `read_documents`."""
    pq = _parquet()
    total = 0
    for path in _shards(folder, split):
        try:
            total += pq.read_metadata(path).num_rows
        except (OSError, ValueError) as error:
            raise _damaged(path, error) from error
    return total


def _shards(folder: Path, split: Split | None) -> list[Path]:
    manifest = read_manifest(folder, "corpus")
    wanted = SPLITS if split is None else (split,)
    return [
        folder / name
        for side in wanted
        for name in sorted(manifest.files)
        if name.startswith(f"{side}/") and name.endswith(".parquet")
    ]


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        Text(f"{path} is missing or damaged: {error}", f"{path} 不存在或已损坏：{error}"),
        Text(
            "Build the corpus again, or restore the folder from a copy.",
            "请重新生成语料，或从备份恢复该目录。",
        ),
    )

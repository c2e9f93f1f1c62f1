"""Safetensors files of one folder: one, or shards with an index; mapped, never read whole."""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hanlin.base.errors import CheckpointError
from hanlin.base.files import disk_errors, ordinary_permissions
from hanlin.base.language import Text

NAME = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARDS = "shards"
"""Where a checkpoint of several processes has its tensors, in parts (`sharded.py`)."""

_PIECE_BYTES = 2**20
_READ_SHARE = 1 / 50
"""So much of a file is read through one mapping: opening another one costs reading the file's header."""


def is_sharded(folder: Path) -> bool:
    """Whether the tensors of a checkpoint are in parts."""
    return (folder / SHARDS).is_dir()


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file; raise `DiskError` when the disk is full or unwritable."""
    with disk_errors(path):
        try:
            save_file(dict(tensors), path, metadata={"format": "pt"})
            ordinary_permissions(path)  # the library makes files that only their owner may read
        except SafetensorError as error:
            # The library wraps what the system said in an error of its own, as text.
            number = re.search(r"\(os error (\d+)\)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def save_index(folder: Path, files: Mapping[str, str], total_bytes: int) -> None:
    """Write which shard holds which tensor, as the ecosystem does."""
    index = {"metadata": {"total_size": total_bytes}, "weight_map": dict(sorted(files.items()))}
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", "utf-8")


class TensorFiles:
    """The tensors of one folder, over all its shards, opened but not read."""

    def __init__(self, folder: Path) -> None:
        """Raises `CheckpointError` for files that are missing, cut short or pickled."""
        self._path: dict[str, Path] = {}
        self._mapped: dict[Path, safe_open] = {}
        self._reading: tuple[Path, safe_open] | None = None
        self._read_bytes = 0
        for path in _shards(folder):
            self._mapped[path] = opened = _open(path)
            self._path.update(dict.fromkeys(opened.keys(), path))  # type: ignore[no-untyped-call]

    def __iter__(self) -> Iterator[str]:
        return iter(self._path)

    def shape(self, name: str) -> list[int]:
        """Shape of one tensor, from the file's header."""
        shape: list[int] = self._mapped[self._path[name]].get_slice(name).get_shape()  # type: ignore[no-untyped-call]
        return shape

    def dtype(self, name: str) -> torch.dtype:
        """Number format of one tensor, from the file's header."""
        return self.load(name).dtype

    def load(self, name: str) -> Tensor:
        """One tensor, mapped: memory is taken when it is used, and changing it does not change the file."""
        tensor: Tensor = self._mapped[self._path[name]].get_tensor(name)  # type: ignore[no-untyped-call]
        return tensor

    def pieces(self, name: str) -> Iterator[Tensor]:
        """One tensor in pieces along its first axis, for copying: what was read is not kept in memory."""
        shape = self.shape(name)
        row_bytes = math.prod(shape[1:]) * self.dtype(name).itemsize
        rows = max(1, _PIECE_BYTES // max(1, row_bytes))
        for start in range(0, shape[0], rows):
            stop = min(start + rows, shape[0])
            whole = self._reader(self._path[name], (stop - start) * row_bytes).get_slice(name)  # type: ignore[no-untyped-call]
            yield whole[start:stop]

    def _reader(self, path: Path, size: int) -> safe_open:
        """A mapping of its own for reading: the pages of a mapping stay in memory until it is closed, and those
        of `load` live as long as the model."""
        self._read_bytes += size
        if (
            self._reading is None
            or self._reading[0] != path
            or self._read_bytes > _READ_SHARE * path.stat().st_size
        ):
            self._reading, self._read_bytes = (path, _open(path)), size
        return self._reading[1]


def _open(path: Path) -> safe_open:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            Text(f"{path} cannot be opened: {error}", f"无法打开 {path}：{error}"),
            Text("The file is missing or cut short: copy it again.", "文件缺失或不完整：请重新复制。"),
        ) from error


def _shards(folder: Path) -> list[Path]:
    if (folder / NAME).is_file():
        return [folder / NAME]
    if (folder / INDEX).is_file():
        return [folder / name for name in _indexed(folder / INDEX)]
    pickled = sorted(path.name for path in folder.glob("*.bin"))
    if pickled:
        raise CheckpointError(
            Text(f"{folder} holds pickled weights ({pickled[0]}), which can run code when opened.",
                 f"{folder} 中的权重是 pickle 格式（{pickled[0]}），打开时可能执行代码。"),
            Text("Convert them where you trust them: load with transformers and call save_pretrained.",
                 "请在可信的环境中转换：用 transformers 载入后调用 save_pretrained。"),
        )  # fmt: skip
    raise CheckpointError(
        Text(f"{folder} holds no weights ({NAME}).", f"{folder} 中没有权重文件（{NAME}）。"),
        Text("Give a folder with config.json, model.safetensors and tokenizer.json.",
             "请给出包含 config.json、model.safetensors 与 tokenizer.json 的目录。"),
    )  # fmt: skip


def _indexed(path: Path) -> list[str]:
    """The names of the shards that an index lists."""
    try:
        return sorted(set(json.loads(path.read_text("utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            Text(f"{path} is damaged: {error!r}", f"{path} 已损坏：{error!r}"),
            Text("Restore it from a copy.", "请从备份恢复该文件。"),
        ) from error

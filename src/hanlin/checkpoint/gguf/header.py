"""The header of a GGUF file, read with distrust.

Source: docs/gguf.md of ggml, versions 2 and 3. The reader of the `gguf` package makes Python objects for every
element of every array, which takes seconds for the vocabulary of an ordinary model, and trusts its counts.
"""

import mmap
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text
from hanlin.checkpoint.gguf.cursor import Cursor, damaged
from hanlin.checkpoint.gguf.quants import FORMATS, Format

MAGIC = b"GGUF"
ALIGNMENT = 32
"""Where tensors begin, unless `general.alignment` says otherwise."""

_SMALLEST_PAIR = 8 + 4 + 1
_SMALLEST_TENSOR = 8 + 4 + 8 + 4 + 8
_MOST_DIMENSIONS = 4


@dataclass(frozen=True)
class TensorPlace:
    """Where one tensor lies. `shape` is rows first, as torch has it (the file says it the other way)."""

    shape: tuple[int, ...]
    format: Format
    start: int
    size: int


@dataclass(frozen=True)
class Header:
    """All that a GGUF file says before its tensors; `data` is the whole file, mapped and not read."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, TensorPlace]
    data: mmap.mmap


def read_header(path: Path) -> Header:
    """Map the file and read its header.

    Raises `CheckpointError` for what is not GGUF, of another version, cut short or contradictory: counts and
    lengths beyond the end of the file, unknown types, tensors that overlap or lie outside.
    """
    cursor = Cursor(path, _map(path), len(MAGIC))
    version = cursor.number("<I", "the version")
    if version not in (2, 3):
        raise _other_version(path, version)
    tensors = cursor.count(
        cursor.number("<Q", "the number of tensors"), _SMALLEST_TENSOR, "tensors", "个张量"
    )
    pairs = cursor.count(cursor.number("<Q", "the number of settings"), _SMALLEST_PAIR, "settings", "项设置")
    metadata: dict[str, Any] = {}
    for _ in range(pairs):
        key = cursor.string("the name of a setting")
        if key in metadata:
            raise damaged(path, f"the setting {key} is there twice", f"设置项 {key} 出现了两次")
        metadata[key] = cursor.value(key)
    return Header(path, metadata, _places(cursor, metadata, tensors), cursor.data)


def _map(path: Path) -> mmap.mmap:
    try:
        with open(path, "rb") as file:
            magic = file.read(len(MAGIC))
            if magic != MAGIC:
                raise CheckpointError(
                    Text(f"{path} is not a GGUF file: it begins with {magic!r}.",
                         f"{path} 不是 GGUF 文件：其开头为 {magic!r}。"),
                    Text("Give a .gguf file or a model folder.", "请给出 .gguf 文件或模型目录。"),
                )  # fmt: skip
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise CheckpointError(
            Text(f"{path} cannot be opened: {error.strerror}.", f"无法打开 {path}：{error.strerror}。"),
            Text("Check the path.", "请检查路径。"),
        ) from error


def _other_version(path: Path, version: int) -> CheckpointError:
    swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
    big = " (big-endian)" if swapped in (2, 3) else ""
    return CheckpointError(
        Text(f"{path} is GGUF of version {swapped if big else version}{big}; 2 and 3 (little-endian) can be read.",
             f"{path} 的 GGUF 版本为 {swapped if big else version}{'（大端序）' if big else ''}；只能读取小端序的版本 2 和 3。"),
        Text("Convert the model again with a current llama.cpp.", "请用新版 llama.cpp 重新转换模型。"),
    )  # fmt: skip


@dataclass(frozen=True)
class _Announcement:
    name: str
    dimensions: tuple[int, ...]
    format: int
    offset: int


def _announcement(cursor: Cursor) -> _Announcement:
    name = cursor.string("the name of a tensor")
    rank = cursor.number("<I", name)
    if not 1 <= rank <= _MOST_DIMENSIONS:
        raise damaged(cursor.path, f"{name} has {rank} dimensions", f"{name} 有 {rank} 个维度")
    dimensions = tuple(cursor.number("<Q", name) for _ in range(rank))
    return _Announcement(name, dimensions, cursor.number("<I", name), cursor.number("<Q", name))


def _places(cursor: Cursor, metadata: dict[str, Any], number: int) -> dict[str, TensorPlace]:
    path = cursor.path
    announced = [_announcement(cursor) for _ in range(number)]
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise damaged(path, f"general.alignment is {alignment!r}", f"general.alignment 为 {alignment!r}")
    begin = -(-cursor.place // alignment) * alignment
    places: dict[str, TensorPlace] = {}
    for tensor in announced:
        if tensor.name in places:
            raise damaged(path, f"the tensor {tensor.name} is there twice", f"张量 {tensor.name} 出现了两次")
        place = _place(path, tensor, begin)
        if tensor.offset % alignment:
            raise damaged(path, f"{tensor.name} is not aligned to {alignment} bytes",
                          f"{tensor.name} 未按 {alignment} 字节对齐")  # fmt: skip
        if place.start + place.size > cursor.end:
            raise damaged(
                path,
                f"{tensor.name} ends at byte {place.start + place.size}, and the file at {cursor.end}",
                f"{tensor.name} 应止于第 {place.start + place.size} 字节，而文件止于第 {cursor.end} 字节",
            )
        places[tensor.name] = place
    _refuse_overlaps(path, places)
    return places


def _place(path: Path, tensor: _Announcement, begin: int) -> TensorPlace:
    """Python's integers do not overflow, so absurd dimensions only make a size beyond the end of the file."""
    if tensor.format not in FORMATS:
        raise CheckpointError(
            Text(f"{path}: {tensor.name} is stored in the unknown format {tensor.format}.",
                 f"{path}：{tensor.name} 的存储格式 {tensor.format} 未知。"),
            Text(f"These can be read: {', '.join(format.name for format in FORMATS.values())}.",
                 f"可以读取的有：{'、'.join(format.name for format in FORMATS.values())}。"),
        )  # fmt: skip
    format = FORMATS[tensor.format]
    shape = tensor.dimensions[::-1]
    if prod(shape) == 0 or shape[-1] % format.block:
        raise damaged(
            path,
            f"{tensor.name} has shape {shape}, which {format.name} cannot store",
            f"{tensor.name} 的形状为 {shape}，无法以 {format.name} 存储",
        )
    return TensorPlace(shape, format, begin + tensor.offset, prod(shape) // format.block * format.bytes)


def _refuse_overlaps(path: Path, places: dict[str, TensorPlace]) -> None:
    in_order = sorted(places, key=lambda name: places[name].start)
    for before, after in pairwise(in_order):
        if places[before].start + places[before].size > places[after].start:
            raise damaged(path, f"{before} and {after} overlap", f"{before} 与 {after} 重叠")

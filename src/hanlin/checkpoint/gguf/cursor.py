"""Reading forward through a GGUF file; no step goes beyond its end, and no memory is taken before it is known
that what is announced is there."""

import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text

STRING, ARRAY, FLOAT32 = 8, 9, 6
SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
"""Number of a value type -> how `struct` reads it."""


def damaged(path: Path, en: str, zh: str) -> CheckpointError:
    """The error for a GGUF file that cannot be what it says."""
    return CheckpointError(
        Text(f"{path} is damaged: {en}.", f"{path} 已损坏：{zh}。"),
        Text("Copy or download the file again.", "请重新复制或下载该文件。"),
    )


class Cursor:
    """A place in a mapped file."""

    def __init__(self, path: Path, data: mmap.mmap, place: int) -> None:
        self.path, self.data, self.place, self.end = path, data, place, len(data)

    def advance(self, size: int, what: str) -> int:
        """Where the next `size` bytes begin; they are then behind us."""
        start = self.place
        if size > self.end - start:
            raise damaged(
                self.path,
                f"{what} at byte {start} takes {size} bytes, and only {self.end - start} are left",
                f"第 {start} 字节处需要 {size} 字节（{what}），但只剩 {self.end - start} 字节",
            )
        self.place += size
        return start

    def number(self, format: str, what: str) -> Any:
        """One number or truth value."""
        return struct.unpack_from(format, self.data, self.advance(struct.calcsize(format), what))[0]

    def count(self, number: int, smallest: int, en: str, zh: str) -> int:
        """`number` things of at least `smallest` bytes must fit into what is left."""
        if number > (self.end - self.place) // smallest:
            raise damaged(
                self.path,
                f"it announces {number} {en} at byte {self.place}, more than fit into the file",
                f"第 {self.place} 字节处声明有 {number} {zh}，超出文件大小",
            )
        return number

    def string(self, what: str) -> str:
        """One string."""
        length = self.number("<Q", what)
        start = self.advance(length, what)
        try:
            return self.data[start : start + length].decode("utf-8")
        except UnicodeDecodeError as error:
            raise damaged(
                self.path, f"{what} at byte {start} is not UTF-8", f"第 {start} 字节处不是 UTF-8（{what}）"
            ) from error

    def value(self, key: str) -> Any:
        """One setting: a number, a truth value, a string, or a list of these."""
        kind = self.number("<I", key)
        if kind == ARRAY:
            kind = self.number("<I", key)
            return self._list(kind, self.number("<Q", key), key)
        if kind == STRING:
            return self.string(key)
        value = self.number(self._format(kind, key), key)
        return float(str(np.float32(value))) if kind == FLOAT32 else value  # 1e-05, not 9.999999747e-06

    def _list(self, kind: int, number: int, key: str) -> list[Any]:
        if kind == STRING:
            return [self.string(key) for _ in range(self.count(number, 8, f"strings in {key}", "个字符串"))]
        format = self._format(kind, key)
        size = struct.calcsize(format)
        start = self.advance(self.count(number, size, f"values in {key}", "个数值") * size, key)
        values: list[Any] = np.frombuffer(self.data, format, number, start).tolist()
        return values

    def _format(self, kind: int, key: str) -> str:
        if kind not in SCALARS:
            raise damaged(
                self.path, f"{key} is of the unknown type {kind}", f"{key} 的类型 {kind} 未知"
            )  # fmt: skip
        return SCALARS[kind]

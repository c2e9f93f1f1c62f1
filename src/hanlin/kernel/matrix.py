"""Matrices in the order in which the kernel reads them."""

import ctypes
import mmap
from typing import Any

import numpy as np

from hanlin.kernel.library import BLOCK, F32, Matrix, library

_PIECE = 1 << 26
_ALIGNMENT = 64


class Memory:
    """Where packed matrices lie, one behind another in large pages, as they are read: it grows piece by piece.

    Pages are taken when they are written to, and given back when nobody refers to the memory any more.
    """

    def __init__(self) -> None:
        self._pieces: list[mmap.mmap] = []
        self._start = self._used = self._size = 0

    def take(self, size: int) -> int:
        """The address of `size` new bytes."""
        size = -(-size // _ALIGNMENT) * _ALIGNMENT
        if self._used + size > self._size:
            self._grow(max(size, _PIECE))
        address = self._start + self._used
        self._used += size
        return address

    def _grow(self, size: int) -> None:
        piece = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            piece.madvise(mmap.MADV_HUGEPAGE)
        self._pieces.append(piece)
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(piece))
        self._used, self._size = 0, size


def pack(
    memory: Memory, source: np.ndarray[Any, Any], format: int = F32, columns: int | None = None
) -> Matrix:
    """A matrix of R rows and C columns in `memory`.

    source: (R, C) float32 for F32; for the block formats (R, bytes) uint8, each row the blocks of GGUF, and `columns`.
    """
    rows, columns = len(source), source.shape[1] if columns is None else columns
    assert source.dtype == (np.float32 if format == F32 else np.uint8)
    assert format == F32 or columns % BLOCK == 0
    source = np.ascontiguousarray(source)
    size = library().packed_bytes(format, rows, columns)
    assert size, f"no matrix of format {format}, {rows} x {columns}"
    address = memory.take(size)
    library().pack(format, rows, columns, source.ctypes.data, address)
    return Matrix(address, rows, columns, format)


def unpack_row(matrix: Matrix, row: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """One row as float32."""
    values = np.empty(matrix.columns, np.float32)
    library().unpack_row(ctypes.byref(matrix), row, values.ctypes.data)
    return values

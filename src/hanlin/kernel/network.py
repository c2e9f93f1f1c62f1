"""A decoder in the kernel: what goes in and out of one call.

N tokens, M asked tokens, V vocabulary, P positions, R values of a head that turn.
"""

import ctypes
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hanlin.kernel.library import Layer, Matrix, Shape, library

Floats = np.ndarray[Any, np.dtype[np.float32]]
Integers = np.ndarray[Any, np.dtype[np.int32]]


@dataclass(frozen=True)
class Parts:
    """The weights of a network. held: what the addresses in them point to, which must live as long."""

    layers: Sequence[Layer]
    embedding: Matrix
    head: Matrix
    norm: int
    head_bias: int | None
    held: object


class Network:
    """A Llama-like decoder with a cache of `shape.slots` texts. For one thread at a time."""

    def __init__(self, shape: Shape, parts: Parts) -> None:
        """Raises `MemoryError`."""
        self._library, self._shape, self._parts = library(), shape, parts
        self.vocab_size = int(shape.vocab_size)
        self._logits_MV = np.empty((0, self.vocab_size), np.float32)
        self._turns: dict[int, tuple[Floats, Floats]] = {}
        layers = (Layer * len(parts.layers))(*parts.layers)
        network = self._library.network_new(
            ctypes.byref(shape),
            layers,
            ctypes.byref(parts.embedding),
            ctypes.byref(parts.head),
            parts.norm,
            parts.head_bias,
        )
        if not network:
            raise MemoryError("the kernel's cache")
        self._network: int = network
        self.close = weakref.finalize(self, self._library.network_free, network)

    def another(self, slots: int) -> "Network":
        """A network of the same weights with a cache of its own, of so many slots."""
        shape = Shape.from_buffer_copy(self._shape)
        shape.slots = slots
        return Network(shape, self._parts)

    def turn_by(self, table: int, cosines_PR: Floats, sines_PR: Floats) -> None:
        """The rotations of the first P positions, one of each pair: (P, R / 2)."""
        assert cosines_PR.flags.c_contiguous
        assert sines_PR.flags.c_contiguous
        self._turns[table] = (cosines_PR, sines_PR)
        self._library.network_turns(
            self._network, table, cosines_PR.ctypes.data, sines_PR.ctypes.data, len(cosines_PR)
        )

    def forward(
        self, ids_N: Integers, slots_N: Integers, positions_N: Integers, wanted_M: Integers
    ) -> Floats:
        """What comes after the tokens number `wanted_M` (ascending): (M, V), valid until the next call.

        Tokens of one slot come in the order of their positions, and all before them must have been given.
        """
        assert self.close.alive, "closed"
        if len(self._logits_MV) < len(wanted_M):
            self._logits_MV = np.empty((len(wanted_M), self.vocab_size), np.float32)
        failed = self._library.network_forward(
            self._network,
            len(ids_N),
            ids_N.ctypes.data,
            slots_N.ctypes.data,
            positions_N.ctypes.data,
            len(wanted_M),
            wanted_M.ctypes.data,
            self._logits_MV.ctypes.data,
        )
        assert not failed, "ids, slots or positions out of range"
        return self._logits_MV[: len(wanted_M)]

    def copy(self, source: int, target: int, length: int) -> None:
        """Let slot `target` hold what `source` holds of its first `length` tokens."""
        self._library.network_copy(self._network, source, target, length)

    def release(self, slot: int, length: int) -> None:
        """Give the memory of all but a slot's first `length` tokens back to the system."""
        self._library.network_release(self._network, slot, length)

    @property
    def token_bytes(self) -> int:
        """Memory of one cached token."""
        return int(self._library.network_token_bytes(self._network))

    @property
    def threads(self) -> int:
        """Threads that compute."""
        return int(self._library.network_threads(self._network))

"""The state of texts while an encoder-decoder writes them, and which sources are read together.

R rows (a text each).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hanlin.base.device import Compute
from hanlin.batches.ragged import lay_inputs
from hanlin.model.cache import KeyValueCache
from hanlin.model.seq2seq import Memory, Seq2Seq

Ids = Sequence[int] | NDArray[np.integer]

ROWS_AT_ONCE = {"cpu": 128, "cuda": 1024, "mps": 256}
"""Texts that run at once."""
TOKENS_AT_ONCE = {"cpu": 2**13, "cuda": 2**17, "mps": 2**15}
"""Source tokens that they may look at together."""

FIRST_CAPACITY = 16
"""Tokens for which the cache has room at first; it doubles when it is full."""


class TargetRows:
    """The decoder's state of R texts: what it looks at of their sources, and its own cache."""

    def __init__(self, model: Seq2Seq, sources: Sequence[Ids], compute: Compute, most: int) -> None:
        inputs = lay_inputs(sources, "padded", 0).to(compute.device)
        self._model, self._most = model, most
        self._memory = model.encode(inputs.tokens_BT, inputs.documents_BT)
        capacity = min(FIRST_CAPACITY, most)
        self._cache = KeyValueCache(model.config, len(sources), capacity, compute.device, compute.precision)
        self._source_of_R = list(range(len(sources)))
        self._length = 0

    def logits(self, last_R: Tensor) -> Tensor:
        """As `Rows`."""
        if self._length == self._cache.capacity:
            self._cache = self._cache.lengthened(min(2 * self._length, self._most))
        self._length += 1
        hidden_RC = self._model.hidden(last_R.unsqueeze(1), self._memory, self._cache)[:, -1]
        return self._model.logits(hidden_RC)

    def keep(self, rows_R: Tensor) -> None:
        """As `Rows`. All rows of a source look at the same: it is moved only where the rows of a source change places."""
        self._cache = self._cache.chosen(rows_R)
        sources = [self._source_of_R[row] for row in rows_R.tolist()]
        if sources != self._source_of_R:
            self._memory = _chosen_memory(self._memory, rows_R)
            self._source_of_R = sources


def _chosen_memory(memory: Memory, rows_R: Tensor) -> Memory:
    documents_BS = memory.documents_BS
    return Memory(
        [
            (keys.index_select(0, rows_R), values.index_select(0, rows_R))
            for keys, values in memory.keys_values
        ],
        None if documents_BS is None else documents_BS.index_select(0, rows_R),
    )


def batches_of(lengths: Sequence[int], beams: int, device: str) -> Iterator[list[int]]:
    """Numbers of sources of like length, the longest first."""
    order, place = sorted(range(len(lengths)), key=lambda number: -lengths[number]), 0
    while place < len(order):
        tokens = TOKENS_AT_ONCE[device] // lengths[order[place]]
        at_once = max(1, min(ROWS_AT_ONCE[device], tokens) // beams)
        yield order[place : place + at_once]
        place += at_once

"""The resumable loader: an endless stream of (batch, state), where the state says how to go on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.batches.pack import Batch, count_rows, pack
from hanlin.batches.store import Ids


@dataclass(frozen=True)
class LoaderState:
    """Where a loader stands: rows taken since the start of training, over all epochs."""

    rows_taken: int = 0


class Rows(Protocol):
    """Where training and validation take their batches from."""

    def stream(self, state: LoaderState) -> Iterator[tuple[Batch, LoaderState]]:
        """Endless batches from `state` on, each with the state after it."""

    def once(self, limit: int | None = None) -> Iterator[Batch]:
        """Every row once in order, at most `limit` rows: for evaluation."""


class Loader:
    """Batches of shuffled rows. The order of each epoch depends on the seed and the epoch alone."""

    def __init__(
        self, tokens: Ids, *, rows: int, length: int, begin_id: int, separate: bool = True, seed: int = 0
    ) -> None:
        self.tokens, self.rows, self.length = tokens, rows, length
        self.begin_id, self.separate, self.seed = begin_id, separate, seed
        self.total_rows = count_rows(tokens, length)
        if self.total_rows == 0:
            raise DataError(
                Text(
                    f"The split has {len(tokens)} tokens; one row needs {length + 1}.",
                    f"该数据集只有 {len(tokens)} 个词元，而一行需要 {length + 1} 个。",
                ),
                Text(
                    "Add text to that split, or set a smaller model.window.",
                    "请为该数据集增加文本，或减小 model.window。",
                ),
            )

    def stream(self, state: LoaderState) -> Iterator[tuple[Batch, LoaderState]]:
        """Endless batches from `state` on, each with the state after it."""
        epoch, order = -1, np.empty(0, np.int64)
        taken = state.rows_taken
        while True:
            chosen = np.empty(self.rows, np.int64)
            for slot in range(self.rows):
                if (taken + slot) // self.total_rows != epoch:
                    epoch = (taken + slot) // self.total_rows
                    order = np.random.default_rng((self.seed, epoch)).permutation(self.total_rows)
                chosen[slot] = order[(taken + slot) % self.total_rows]
            taken += self.rows
            yield self._pack(chosen), LoaderState(taken)

    def once(self, limit: int | None = None) -> Iterator[Batch]:
        """Every row once in order, at most `limit` rows: for evaluation."""
        stop = self.total_rows if limit is None else min(limit, self.total_rows)
        for start in range(0, stop, self.rows):
            yield self._pack(np.arange(start, min(start + self.rows, stop)))

    def _pack(self, rows: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Batch:
        return pack(self.tokens, rows, self.length, self.begin_id, self.separate)

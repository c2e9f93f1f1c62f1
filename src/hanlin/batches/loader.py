"""The resumable loader: an endless stream of batches that only the seed and the number of rows taken decide."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.batches.batch import Rowed
from hanlin.batches.buckets import bucketed

RowSeed = tuple[int, int, int]
"""Seed of the run, epoch, row: what is drawn for a row (masks, pairs) comes from a generator of its own, so that it
does not depend on the size of a batch or on the number of processes."""


class Examples(Protocol):
    """Something that has rows and can make a batch of any of them."""

    def __len__(self) -> int:
        """Number of rows."""

    def batch(self, rows: npt.NDArray[np.int64], seeds: Sequence[RowSeed]) -> Rowed:
        """The given rows; what is drawn for row i comes from `numpy.random.default_rng(seeds[i])`."""


class Rows(Protocol):
    """Where training and validation take their batches from."""

    @property
    def rows(self) -> int:
        """Rows of one batch, over all processes."""

    def stream(self, taken: int) -> Iterator[Rowed]:
        """Endless batches after the first `taken` rows of training."""

    def once(self, limit: int | None = None) -> Iterator[Rowed]:
        """Every row once in order, at most `limit` rows: for evaluation."""


class Loader:
    """Batches of shuffled rows. The order of each epoch depends on the seed and the epoch alone.

    rank, ranks: of each batch, process `rank` of `ranks` makes its own equal share of the rows.
    sizes: the length of each row; with it rows of like length share a batch (buckets.py).
    """

    def __init__(
        self,
        examples: Examples,
        *,
        rows: int,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
        sizes: npt.NDArray[np.int64] | None = None,
    ) -> None:
        if rows % ranks:
            raise ConfigError(
                Text(
                    f"A batch of {rows} rows cannot be divided among {ranks} processes.",
                    f"一个批次的 {rows} 行无法平均分给 {ranks} 个进程。",
                ),
                Text(
                    f"Set batch_rows to a multiple of {ranks}.",
                    f"请把 batch_rows 设为 {ranks} 的倍数。",
                ),
            )
        self.examples, self.rows, self.seed, self.sizes = examples, rows, seed, sizes
        self._share = slice(rank * rows // ranks, (rank + 1) * rows // ranks)

    def stream(self, taken: int) -> Iterator[Rowed]:
        """Endless batches after the first `taken` rows of training."""
        total, orders = len(self.examples), dict[int, npt.NDArray[np.int64]]()
        while True:
            places = range(taken, taken + self.rows)[self._share]
            epochs = [place // total for place in places]
            for epoch in set(epochs) - orders.keys():
                orders[epoch] = self._order(epoch)
            orders = {epoch: order for epoch, order in orders.items() if epoch >= epochs[0]}
            rows = np.array([orders[place // total][place % total] for place in places])
            yield self._batch(rows, epochs)
            taken += self.rows

    def once(self, limit: int | None = None) -> Iterator[Rowed]:
        """Every row once in order, at most `limit` rows; the same draws each time."""
        total = len(self.examples)
        stop = total if limit is None else min(limit, total)
        for start in range(0, stop, self.rows):
            rows = np.arange(start, min(start + self.rows, stop))
            yield self._batch(rows, [0] * len(rows))

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        total, random = len(self.examples), np.random.default_rng((self.seed, epoch))
        order = random.permutation(total)
        if self.sizes is None:
            return order
        return bucketed(order, self.sizes, self.rows, -epoch * total % self.rows, random)

    def _batch(self, rows: npt.NDArray[np.int64], epochs: Sequence[int]) -> Rowed:
        seeds = [(self.seed, epoch, int(row)) for epoch, row in zip(epochs, rows, strict=True)]
        return self.examples.batch(rows, seeds)

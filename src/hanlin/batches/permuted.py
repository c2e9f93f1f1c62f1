"""Rows for permutation language models: an order of the tokens, and the last ones of it to be predicted.

Source: arXiv 1906.08237 (XLNet), section 2.2 and, for predicting only the last 1/K of an order, eq. 5 of 2.3.

B rows, T row length, P predicted tokens of a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from numpy.random import Generator
from torch import Tensor

from hanlin.batches.batch import IGNORE, Rowed
from hanlin.batches.framed import FramedRows
from hanlin.batches.loader import RowSeed

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PermutedBatch(Rowed):
    """tokens_BT: ids. ranks_BT: the number of each token in the order of its row, from 0. places_BP: where the
    predicted tokens stand; targets_BP: which they are. Where a row has fewer, -1 and `IGNORE`. positions_BT, documents_BT:
    as in `Batch`. All int64."""

    tokens_BT: Tensor
    ranks_BT: Tensor
    places_BP: Tensor
    targets_BP: Tensor
    positions_BT: Tensor | None = None
    documents_BT: Tensor | None = None


@dataclass(frozen=True)
class PermutedRows:
    """The rows of a token stream, each in another order each epoch.

    share: of the places of a row, which are the last in its order (1/K). Special tokens come first in every order and are
    not predicted; nor is what would have nothing before it in its document.
    """

    framed: FramedRows
    share: float = 1 / 6

    def __len__(self) -> int:
        return len(self.framed)

    def batch(self, rows: npt.NDArray[np.int64], seeds: Sequence[RowSeed]) -> PermutedBatch:
        """The given rows in the orders that their seeds draw."""
        plain = self.framed.take(rows)
        B, T = plain.tokens_BT.shape
        P = max(1, round(self.share * T))
        documents_BT = (
            np.zeros((B, T), np.int64) if plain.documents_BT is None else plain.documents_BT.numpy()
        )
        ranks_BT, places_BP = np.empty((B, T), np.int64), np.full((B, P), -1)
        targets_BP = np.full((B, P), IGNORE)
        for row, (ids_T, seed) in enumerate(zip(plain.tokens_BT.numpy(), seeds, strict=True)):
            order_T = self._order(ids_T, np.random.default_rng(seed))
            ranks_BT[row, order_T] = np.arange(T)
            last = self._last(ids_T, order_T, documents_BT[row], P)
            places_BP[row, : len(last)], targets_BP[row, : len(last)] = last, ids_T[last]
        return PermutedBatch(
            plain.tokens_BT,
            torch.from_numpy(ranks_BT),
            torch.from_numpy(places_BP),
            torch.from_numpy(targets_BP),
            plain.positions_BT,
            plain.documents_BT,
        )

    def _is_special(self, ids_T: Ints) -> npt.NDArray[np.bool_]:
        return np.isin(ids_T, list(self.framed.special.all))

    def _order(self, ids_T: Ints, random: Generator) -> Ints:
        """Places of a row in the order in which its tokens are predicted."""
        shuffled_T = random.permutation(len(ids_T))
        return shuffled_T[np.argsort(~self._is_special(ids_T[shuffled_T]), kind="stable")]

    def _last(self, ids_T: Ints, order_T: Ints, documents_T: Ints, P: int) -> Ints:
        """The places of at most P tokens that are predicted."""
        able_T = ~self._is_special(ids_T[order_T])
        _, first = np.unique(documents_T[order_T], return_index=True)
        able_T[first] = False
        last = order_T[-P:]
        return last[able_T[-P:]]

"""Packing: rows of equal length cut from the token stream, knowing where documents begin.

B rows, T row length.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hanlin.batches.store import Ids


@dataclass(frozen=True)
class Batch:
    """Rows to learn from. Each has the token after it as its target.

    tokens_BT, targets_BT: ids, int64. positions_BT: place in the document (or row, for a document that began
    in an earlier row). documents_BT: number of the document within its row. The last two are None where
    no document begins inside any row, or where documents are not kept apart.
    """

    tokens_BT: Tensor
    targets_BT: Tensor
    positions_BT: Tensor | None = None
    documents_BT: Tensor | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.tokens_BT.shape[0]

    def split(self, rows: int) -> list["Batch"]:
        """The same rows in pieces of at most `rows`."""
        return [self._slice(slice(start, start + rows)) for start in range(0, self.rows, rows)]

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        return Batch(
            self.tokens_BT.to(device),
            self.targets_BT.to(device),
            None if self.positions_BT is None else self.positions_BT.to(device),
            None if self.documents_BT is None else self.documents_BT.to(device),
        )

    def _slice(self, part: slice) -> "Batch":
        return Batch(
            self.tokens_BT[part],
            self.targets_BT[part],
            None if self.positions_BT is None else self.positions_BT[part],
            None if self.documents_BT is None else self.documents_BT[part],
        )


def count_rows(tokens: Ids, T: int) -> int:
    """Whole rows of T tokens (and their targets) in a stream."""
    return max(0, (len(tokens) - 1) // T)


def pack(tokens: Ids, rows: npt.NDArray[np.int64], T: int, begin_id: int, separate: bool) -> Batch:
    """Cut the given rows out of the stream; with `separate`, mark documents and restart positions."""
    block = np.stack([tokens[row * T : row * T + T + 1] for row in rows]).astype(np.int64)
    tokens_BT, targets_BT = torch.from_numpy(block[:, :-1].copy()), torch.from_numpy(block[:, 1:].copy())
    begins_BT = tokens_BT == begin_id
    if not separate or not bool(begins_BT[:, 1:].any()):
        return Batch(tokens_BT, targets_BT)
    times_BT = torch.arange(T).expand_as(tokens_BT)
    starts_BT = torch.where(begins_BT, times_BT, 0).cummax(dim=1).values
    return Batch(tokens_BT, targets_BT, times_BT - starts_BT, begins_BT.cumsum(dim=1))

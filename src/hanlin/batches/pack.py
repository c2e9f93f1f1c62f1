"""Packing: rows of equal length cut from the token stream, knowing where documents begin.

B rows, T row length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.batches.batch import Batch
from hanlin.batches.loader import RowSeed
from hanlin.batches.store import Ids


@dataclass(frozen=True)
class PackedRows:
    """The rows of a token stream, each with the token after every place as its target."""

    tokens: Ids
    length: int
    begin_id: int
    separate: bool = True
    """Whether documents are kept apart and positions restart at each."""

    def __post_init__(self) -> None:
        require_rows(len(self), len(self.tokens), self.length)

    def __len__(self) -> int:
        return count_rows(self.tokens, self.length)

    def batch(self, rows: npt.NDArray[np.int64], seeds: Sequence[RowSeed]) -> Batch:
        """The given rows; nothing about them is drawn."""
        return pack(self.tokens, rows, self.length, self.begin_id, self.separate)


def require_rows(rows: int, tokens: int, T: int) -> None:
    """Raise `DataError` if a split of `tokens` has no row of T and one more."""
    if not rows:
        raise DataError(
            Text(
                f"The split has {tokens} tokens; one row needs {T + 1}.",
                f"该数据集只有 {tokens} 个词元，而一行需要 {T + 1} 个。",
            ),
            Text(
                "Add text to that split, or set a smaller model.window.",
                "请为该数据集增加文本，或减小 model.window。",
            ),
        )


def count_rows(tokens: Ids, T: int) -> int:
    """Whole rows of T tokens (and their targets) in a stream."""
    return max(0, (len(tokens) - 1) // T)


def pack(tokens: Ids, rows: npt.NDArray[np.int64], T: int, begin_id: int, separate: bool) -> Batch:
    """Cut the given rows out of the stream; with `separate`, mark documents and restart positions."""
    block = np.stack([tokens[row * T : row * T + T + 1] for row in rows]).astype(np.int64)
    tokens_BT, targets_BT = torch.from_numpy(block[:, :-1].copy()), torch.from_numpy(block[:, 1:].copy())
    return Batch(tokens_BT, targets_BT, *mark_documents(tokens_BT, begin_id, separate))


def mark_documents(tokens_BT: Tensor, begin_id: int, separate: bool) -> tuple[Tensor | None, Tensor | None]:
    """Positions that restart at each document, and the documents' numbers; None where all rows are one document."""
    begins_BT = tokens_BT == begin_id
    if not separate or not bool(begins_BT[:, 1:].any()):
        return None, None
    times_BT = torch.arange(tokens_BT.shape[1]).expand_as(tokens_BT)
    starts_BT = torch.where(begins_BT, times_BT, 0).cummax(dim=1).values
    return times_BT - starts_BT, begins_BT.cumsum(dim=1)

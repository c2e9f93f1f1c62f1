"""What a step learns from: tensors whose first axis is rows.

B rows, T row length.
"""

from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

IGNORE = -100
"""Targets with this value do not enter the loss."""


@dataclass(frozen=True)
class Rowed:
    """Tensors, or others of its kind, of the same rows; an absent one is None. The first is what the model reads."""

    def _parts(self) -> dict[str, "Tensor | Rowed | None"]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _first(self) -> "Tensor | Rowed":
        first: Tensor | Rowed = getattr(self, fields(self)[0].name)
        return first

    @property
    def rows(self) -> int:
        """Number of rows."""
        first = self._first()
        return first.rows if isinstance(first, Rowed) else len(first)

    @property
    def tokens(self) -> int:
        """Number of token places that the model reads, padding included."""
        first = self._first()
        return first.tokens if isinstance(first, Rowed) else first.numel()

    def split(self, rows: int) -> list[Self]:
        """The same rows in pieces of at most `rows`."""
        return [self._slice(slice(start, start + rows)) for start in range(0, self.rows, rows)]

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        return type(self)(**{name: x if x is None else x.to(device) for name, x in self._parts().items()})

    def _slice(self, part: slice) -> Self:
        return type(self)(**{name: _some(x, part) for name, x in self._parts().items()})


def _some(rows: Tensor | Rowed | None, part: slice) -> Tensor | Rowed | None:
    return rows._slice(part) if isinstance(rows, Rowed) else None if rows is None else rows[part]


@dataclass(frozen=True)
class Batch(Rowed):
    """Rows of tokens, and what is to be said at each place.

    tokens_BT, targets_BT: ids, int64; for a next-token objective the target is the token after. positions_BT:
    place in the document (or row, for a document that began in an earlier row). documents_BT: number of the
    document within its row, -1 for padding. segments_BT: BERT's sentence numbers. prefix_B: so many first tokens
    are visible to the whole row. None where all rows are one document, of segment 0, without a prefix.
    """

    tokens_BT: Tensor
    targets_BT: Tensor
    positions_BT: Tensor | None = None
    documents_BT: Tensor | None = None
    segments_BT: Tensor | None = None
    prefix_B: Tensor | None = None

"""Pairs of texts that mean alike, for contrastive learning: two views of each row, and hard negatives if there are any.

B rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hanlin.batches.batch import Rowed
from hanlin.batches.labels import Places
from hanlin.batches.loader import Examples, RowSeed
from hanlin.batches.ragged import Ids, Inputs, Layout, check_not_empty, lay_inputs


@dataclass(frozen=True)
class Views(Rowed):
    """Row i of `first` and of `second` belong together; row i of `negative` is near, but does not belong.

    texts_B3: a number for each text, the same for equal ones (-1: no negative), so that a copy is never taken for a
    negative.
    """

    first: Inputs
    second: Inputs
    negative: Inputs | None
    texts_B3: Tensor

    @property
    def tokens(self) -> int:
        """Token places that the model reads."""
        return sum(view.tokens for view in (self.first, self.second, self.negative) if view is not None)


class TextPairs(Examples):
    """Encoded texts in pairs.

    second: the partner of each text; None: the text itself, which dropout makes another view of (SimCSE, arXiv
    2104.08821, section 3). negatives: for each row a text that is near and wrong (section 4); where
    there is none the text itself, which is never its own negative. The vector of a pair comes from each text by itself, so
    that they can be searched by. Raises `DataError` for a text without tokens.
    """

    def __init__(
        self,
        first: Sequence[Ids],
        second: Sequence[Ids] | None = None,
        negatives: Sequence[Ids] | None = None,
        *,
        pad_id: int,
        layout: Layout = "packed",
        places: Places = None,
    ) -> None:
        self._columns = [
            first,
            first if second is None else second,
            *([] if negatives is None else [negatives]),
        ]
        numbers: dict[bytes, int] = {}
        self._texts_B3 = torch.full((len(first), 3), -1)
        for column, texts in enumerate(self._columns):
            assert len(texts) == len(first)
            check_not_empty(texts, places)
            for row, ids in enumerate(texts):
                key = np.asarray(ids, np.int32).tobytes()
                self._texts_B3[row, column] = numbers.setdefault(key, len(numbers))
        self._pad_id, self._layout = pad_id, layout

    def __len__(self) -> int:
        return len(self._texts_B3)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Tokens of each row: what length buckets are made by."""
        return np.array([sum(map(len, row)) for row in zip(*self._columns, strict=True)], np.int64)

    def batch(self, rows: npt.NDArray[np.int64], seeds: Sequence[RowSeed]) -> Views:
        """The given rows; nothing about them is drawn."""
        first, second, *negative = (
            lay_inputs([texts[row] for row in rows], self._layout, self._pad_id) for texts in self._columns
        )
        return Views(first, second, negative[0] if negative else None, self._texts_B3[torch.from_numpy(rows)])

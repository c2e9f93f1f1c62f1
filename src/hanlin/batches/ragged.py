"""Texts of unequal length as a batch: side by side with padding, or one after another in one row.

B texts, T tokens of the longest, N tokens of all together, C width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.batches.batch import IGNORE, Batch, Rowed

Layout = Literal["padded", "packed"]
"""packed: no place is wasted, and attention stays within a text, so that loss and gradients are those of padded."""

Ids = Sequence[int] | NDArray[np.integer]


@dataclass(frozen=True)
class Inputs(Rowed):
    """What a model reads of B texts; arguments of `Headed.hidden`. documents_BT is -1 at padding."""

    tokens_BT: Tensor
    positions_BT: Tensor | None = None
    documents_BT: Tensor | None = None
    segments_BT: Tensor | None = None

    def apart(self, x_BTC: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the model made of the tokens, a row for each text, with documents that are -1 at padding."""
        return x_BTC, self.documents_BT


class Packed(Rowed):
    """Texts one after another: every tensor is (1, N), and a row of the batch is a document, numbered from 0."""

    documents_BT: Tensor | None

    @property
    def rows(self) -> int:
        """Number of texts."""
        assert self.documents_BT is not None
        return int(self.documents_BT[0, -1]) + 1

    def _slice(self, part: slice) -> Self:
        assert self.documents_BT is not None
        documents_N = self.documents_BT[0]
        start, stop = torch.searchsorted(
            documents_N, documents_N.new_tensor([part.start, part.stop])
        ).tolist()
        parts: dict[str, Any] = self._parts()
        cut = {name: x if x is None else x[:, start:stop] for name, x in parts.items()}
        return type(self)(**{**cut, "documents_BT": cut["documents_BT"] - part.start})


@dataclass(frozen=True)
class PackedInputs(Packed, Inputs):
    """Inputs whose texts share one row."""

    def apart(self, x_BTC: Tensor) -> tuple[Tensor, Tensor | None]:
        """As for `Inputs`: cut at the borders of documents, and padded on the right with zeros."""
        assert self.documents_BT is not None
        assert self.positions_BT is not None
        row_N, place_N = self.documents_BT[0], self.positions_BT[0]
        shape = int(row_N[-1]) + 1, int(place_N.max()) + 1
        documents_BT = row_N.new_full(shape, -1)
        documents_BT[row_N, place_N] = row_N
        apart_BTC = x_BTC.new_zeros(*shape, x_BTC.shape[2]).index_put((row_N, place_N), x_BTC[0])
        return apart_BTC, documents_BT


@dataclass(frozen=True)
class PackedBatch(Packed, Batch):
    """A batch whose texts share one row."""


def lay_inputs(
    texts: Sequence[Ids], layout: Layout, pad_id: int, segments: Sequence[Ids] | None = None
) -> Inputs:
    """Texts of at least one token each as what a model reads; all of one length need no mark for padding."""
    positions_BT, documents_BT = _places([len(ids) for ids in texts], layout)
    return (PackedInputs if layout == "packed" else Inputs)(
        _lay(texts, layout, pad_id),
        positions_BT,
        documents_BT,
        None if segments is None else _lay(segments, layout, 0),
    )


def lay_batch(
    texts: Sequence[Ids],
    targets: Sequence[Ids],
    layout: Layout,
    pad_id: int,
    segments: Sequence[Ids] | None = None,
) -> Batch:
    """The same with a target for each token, or as many for each; padding has the target `IGNORE`."""
    positions_BT, documents_BT = _places([len(ids) for ids in texts], layout)
    return (PackedBatch if layout == "packed" else Batch)(
        _lay(texts, layout, pad_id),
        _lay(targets, layout, IGNORE),
        positions_BT,
        documents_BT,
        None if segments is None else _lay(segments, layout, 0),
    )


def _lay(rows: Sequence[Ids], layout: Layout, fill: int) -> Tensor:
    arrays = [np.asarray(row, np.int64) for row in rows]
    if layout == "packed":
        return torch.from_numpy(np.concatenate(arrays)).unsqueeze(0)
    block_BT = np.full((len(arrays), max(map(len, arrays)), *arrays[0].shape[1:]), fill, np.int64)
    for row, array in zip(block_BT, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(block_BT)


def _places(lengths: Sequence[int], layout: Layout) -> tuple[Tensor | None, Tensor | None]:
    """Positions and documents."""
    assert min(lengths) > 0, "a text without tokens has no place"
    times, numbers = [range(length) for length in lengths], range(len(lengths))
    if layout == "packed":
        documents = [[number] * length for number, length in zip(numbers, lengths, strict=True)]
        return _lay(times, layout, 0), _lay(documents, layout, -1)
    alike = len(set(lengths)) == 1
    return None, None if alike else _lay([[0] * length for length in lengths], layout, -1)


@dataclass(frozen=True)
class Lengths:
    """How long records are, and what did not fit: for the report of a run."""

    records: int
    tokens: int
    longest: int
    cut_records: int
    cut_tokens: int

    @classmethod
    def of(cls, texts: Sequence[Ids], cut: Sequence[int]) -> "Lengths":
        """texts: the ids that are left of each record; cut: how many tokens it lost."""
        lengths = [len(ids) for ids in texts]
        return cls(
            len(lengths), sum(lengths), max(lengths, default=0), sum(lost > 0 for lost in cut), sum(cut)
        )


def name_record(number: int, places: Sequence[str] | None) -> str:
    """What messages call record `number` (from 0): where it stands, such as `train.jsonl:17`, if that is known."""
    return places[number] if places is not None else f"#{number + 1}"


def check_not_empty(texts: Sequence[Ids], places: Sequence[str] | None) -> None:
    """Raise `DataError` if there is no record, or one without tokens."""
    if not texts:
        raise DataError(
            Text("There is no record.", "没有任何记录。"),
            Text("Give a file with at least one line.", "请提供至少含一行的文件。"),
        )
    for number, ids in enumerate(texts):
        if not len(ids):
            raise DataError(
                Text(f"Record {name_record(number, places)} has no tokens.",
                     f"记录 {name_record(number, places)} 没有任何词元。"),
                Text("Fill in its text, or remove it.", "请补上文本，或删除该记录。"),
            )  # fmt: skip

"""Texts, or pairs of texts, each with what is to be said of it as a whole: a class, several labels, or a number.

B texts, K classes.
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
from hanlin.batches.ragged import Inputs, Layout, Lengths, check_not_empty, lay_inputs
from hanlin.tokenizer.framing import Encoding


@dataclass(frozen=True)
class LabelledBatch(Rowed):
    """labels: classes (B,) int64, of which `IGNORE` does not count; 0 or 1 for each label (B, K) int64; or (B,) float32."""

    inputs: Inputs
    labels: Tensor


class LabelledTexts(Examples):
    """Encoded texts with labels from `labels.py`.

    encodings: from `Tokenizer.encode_single`, or `encode_pair` for two texts, whose segment ids the model is given.
    Raises `DataError` where there is no record or one without tokens.
    """

    def __init__(
        self,
        encodings: Sequence[Encoding],
        labels: npt.NDArray[np.int64] | npt.NDArray[np.float32],
        pad_id: int,
        layout: Layout = "packed",
        places: Places = None,
    ) -> None:
        assert len(encodings) == len(labels)
        self._texts = [np.array(encoding.ids, np.int32) for encoding in encodings]
        check_not_empty([np.flatnonzero(np.array(one.special_mask) == 0) for one in encodings], places)
        self._segments = [np.array(encoding.segment_ids, np.int32) for encoding in encodings]
        self._are_pairs = any(segments.any() for segments in self._segments)
        self._labels, self._pad_id, self._layout = torch.from_numpy(labels), pad_id, layout
        self.lengths = Lengths.of(self._texts, [encoding.cut for encoding in encodings])

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Tokens of each record: what length buckets are made by."""
        return np.array([len(text) for text in self._texts], np.int64)

    def batch(self, rows: npt.NDArray[np.int64], seeds: Sequence[RowSeed]) -> LabelledBatch:
        """The given records; nothing about them is drawn."""
        segments = [self._segments[row] for row in rows] if self._are_pairs else None
        inputs = lay_inputs([self._texts[row] for row in rows], self._layout, self._pad_id, segments)
        return LabelledBatch(inputs, self._labels[torch.from_numpy(rows)])

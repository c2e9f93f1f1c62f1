"""Texts of which something is to be said at each token; a text that is longer than the window is several rows.

T tokens of a text, N of its tokens in a row.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hanlin.batches.loader import Examples, RowSeed
from hanlin.batches.ragged import Inputs, Layout, Lengths, lay_inputs
from hanlin.batches.windows import Window, windows
from hanlin.tokenizer.tokenizer import Tokenizer


class TokenRows(Examples):
    """Rows of texts, given as ids without special tokens. A text without tokens has no row.

    overlap: tokens that neighbouring windows of a long text share at least, at most half of a window; None: what does
    not fit is cut, on the tokenizer's side of truncation.
    rows: of each row, the number of its text and what of it the row sees.
    """

    def __init__(
        self,
        texts: Sequence[list[int]],
        tokenizer: Tokenizer,
        max_length: int | None = None,
        *,
        overlap: int | None = None,
        layout: Layout = "padded",
    ) -> None:
        self.rows: list[tuple[int, Window]] = []
        self._layout, self._pad_id = layout, tokenizer.pad_id
        self._ids: list[npt.NDArray[np.int32]] = []
        self._inner: list[npt.NDArray[np.bool_]] = []
        self._texts, cut = [len(text) for text in texts], list[int]()
        room = None if max_length is None else max_length - len(tokenizer.framed([[]]).ids)
        for number, text in enumerate(texts):
            if not text:
                continue
            for window in _windows(text, tokenizer, max_length, room, overlap):
                encoding = tokenizer.framed([text[window.start : window.stop]])
                self.rows.append((number, window))
                self._ids.append(np.array(encoding.ids, np.int32))
                self._inner.append(np.array(encoding.special_mask) == 0)
                cut.append(0 if overlap is not None else len(text) - (window.stop - window.start))
        self.lengths = Lengths.of(self._ids, cut)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Tokens of each row: what length buckets are made by."""
        return np.array([len(ids) for ids in self._ids], np.int64)

    def batch(self, rows: npt.NDArray[np.int64], seeds: Sequence[RowSeed]) -> Any:
        """The given rows as `Inputs`; nothing about them is drawn."""
        inputs: Inputs = lay_inputs([self._ids[row] for row in rows], self._layout, self._pad_id)
        return inputs

    def joined(self, scores: Sequence[Tensor], width: int) -> list[Tensor]:
        """What was said of the tokens of each row, (row length or more, `width`), as one table (T, width) for each text.

        Each token is judged by the window that it belongs to; of tokens in no window nothing is said: zeros.
        """
        tables = [torch.zeros(length, width) for length in self._texts]
        for (text, window), inner, said in zip(self.rows, self._inner, scores, strict=True):
            own = said[: len(inner)][torch.from_numpy(inner)]
            tables[text][window.first : window.last] = own[
                window.first - window.start : window.last - window.start
            ]
        return tables

    def laid_out(self, row: int, values_N: npt.NDArray[Any], fill: int) -> npt.NDArray[Any]:
        """Values of the tokens that a row sees, with `fill` at its special tokens."""
        laid = np.full((len(self._inner[row]), *values_N.shape[1:]), fill, values_N.dtype)
        laid[self._inner[row]] = values_N
        return laid


def _windows(
    text: list[int], tokenizer: Tokenizer, max_length: int | None, room: int | None, overlap: int | None
) -> list[Window]:
    if room is None or len(text) <= room:
        return [Window(0, len(text), 0, len(text))]
    if overlap is not None and room > 0:
        return windows(len(text), room, min(overlap, room // 2))
    encoding = tokenizer.framed([text], max_length)
    kept = [id for id, special in zip(encoding.ids, encoding.special_mask, strict=True) if not special]
    first = 0 if kept == text[: len(kept)] else len(text) - len(kept)
    return [Window(first, first + len(kept), first, first + len(kept))]

"""Questions with their contexts as rows, and where in a row the answer begins and ends.

T tokens of a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hanlin.batches.batch import IGNORE, Batch
from hanlin.batches.loader import Examples, RowSeed
from hanlin.batches.ragged import Layout, Lengths, lay_batch
from hanlin.batches.tagged import CharacterSpan, Tagged
from hanlin.batches.windows import Window, windows
from hanlin.tokenizer.tokenizer import Tokenizer

OPEN, BEGINS, ENDS = 0, 1, 2
"""Targets of places where an answer can be: none of both, or the sum of what it is."""


@dataclass(frozen=True)
class Asked:
    """A question, its context, and the characters of the answer in it; `answer` is None if there is none to learn."""

    question: str
    context: str
    answer: CharacterSpan | None = None


@dataclass(frozen=True)
class AnswerRow:
    """One window of the context of question `number`. Its tokens stand from place `begin` on; `none`: the place that says
    that the window has no answer. offsets: of each token of the whole context, its characters."""

    number: int
    window: Window
    begin: int
    none: int
    offsets: Sequence[CharacterSpan]


class AnswerRows(Examples):
    """`[CLS] question [SEP] context [SEP]`; a longer context in windows, of which each is a row.

    An answer can begin and end at tokens of the context, and at `[CLS]` where the window has none, or not all of it (arXiv
    1810.04805, sections 4.2 and 4.3); all other places have the target `IGNORE`. A tokenizer without `[CLS]` has its
    end token between and after, and there, where a decoder has read all, the window has no answer.
    overlap: tokens that neighbouring windows share, at most half of what the context has room for. A question gives up
    its end where it takes more than half of the row.
    """

    def __init__(
        self,
        asked: Sequence[Asked],
        tokenizer: Tokenizer,
        max_length: int,
        *,
        overlap: int = 128,
        layout: Layout = "packed",
    ) -> None:
        self.rows: list[AnswerRow] = []
        self._layout, self._pad_id = layout, tokenizer.pad_id
        self._ids: list[npt.NDArray[np.int32]] = []
        self._segments: list[npt.NDArray[np.int32]] = []
        self._targets: list[npt.NDArray[np.int32]] = []
        specials = len(_framed([], [], tokenizer)[0])
        cut = list[int]()
        for number, one in enumerate(asked):
            question = tokenizer.encode(one.question)
            kept = question[: (max_length - specials) // 2]
            context, offsets = Tagged.of_spans(one.context, ()).tokens(tokenizer)
            room = max_length - specials - len(kept)
            for window in windows(len(context), room, min(overlap, room // 2)) if context else ():
                ids, segments, begin, none = _framed(kept, context[window.start : window.stop], tokenizer)
                row = AnswerRow(number, window, begin, none, offsets)
                self.rows.append(row)
                self._ids.append(np.array(ids, np.int32))
                self._segments.append(np.array(segments, np.int32))
                self._targets.append(_targets(row, len(ids), one.answer))
                cut.append(len(question) - len(kept))
        self._are_pairs = any(segments.any() for segments in self._segments)
        self.lengths = Lengths.of(self._ids, cut)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Tokens of each row: what length buckets are made by."""
        return np.array([len(ids) for ids in self._ids], np.int64)

    def batch(self, rows: npt.NDArray[np.int64], seeds: Sequence[RowSeed]) -> Batch:
        """The given rows; nothing about them is drawn."""
        return lay_batch(
            [self._ids[row] for row in rows],
            [self._targets[row] for row in rows],
            self._layout,
            self._pad_id,
            [self._segments[row] for row in rows] if self._are_pairs else None,
        )


def _framed(
    question: list[int], context: list[int], tokenizer: Tokenizer
) -> tuple[list[int], list[int], int, int]:
    """(ids, segments, place of the context's first token, place that says that there is no answer)."""
    if tokenizer.cls_id is None:
        before = [*tokenizer.framed([question]).ids, tokenizer.eos_id]
        ids = [*before, *context, tokenizer.eos_id]
        return ids, [0] * len(ids), len(before), len(ids) - 1
    encoding = tokenizer.framed([question, context])
    inner = np.flatnonzero(np.array(encoding.special_mask) == 0)
    begin = int(inner[len(question)]) if context else len(encoding.ids)
    return encoding.ids, encoding.segment_ids, begin, encoding.ids.index(tokenizer.cls_id)


def _targets(row: AnswerRow, length: int, answer: CharacterSpan | None) -> npt.NDArray[np.int32]:
    targets = np.full(length, IGNORE, np.int32)
    shown = range(row.window.start, row.window.stop)
    targets[row.begin : row.begin + len(shown)] = OPEN
    targets[row.none] = OPEN
    first, last = (row.none, row.none) if answer is None else _places(row, shown, answer)
    targets[first] += BEGINS
    targets[last] += ENDS
    return targets


def _places(row: AnswerRow, shown: range, answer: CharacterSpan) -> tuple[int, int]:
    """Where in the row the answer begins and ends: at the first and last of the tokens that have characters of it."""
    tokens = [
        token for token, (start, stop) in enumerate(row.offsets) if start < answer[1] and stop > answer[0]
    ]
    if not tokens or tokens[0] not in shown or tokens[-1] not in shown:
        return row.none, row.none
    return row.begin + tokens[0] - shown.start, row.begin + tokens[-1] - shown.start

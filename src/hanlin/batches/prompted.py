"""Records as cloze questions, with the words of their classes.

B records, K classes, M tokens of the longest word, R different rows of a record, T tokens of the longest row.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.batches.batch import IGNORE, Rowed
from hanlin.batches.labels import Places
from hanlin.batches.loader import Examples, RowSeed
from hanlin.batches.ragged import Lengths, check_not_empty, lay_inputs, name_record
from hanlin.batches.template import Filled, WordPrompt


@dataclass(frozen=True)
class PromptedBatch(Rowed):
    """Token m of class k's word is words_BKM, `IGNORE` beyond its end; spots_BKM is where in the R x T places of its
    record it is predicted; all int64. documents_BRT: -1 at padding."""

    tokens_BRT: Tensor
    spots_BKM: Tensor
    words_BKM: Tensor
    labels_B: Tensor
    documents_BRT: Tensor | None = None


class PromptedTexts(Examples):
    """Records, as texts by slot, in a template, with their classes from `labels.class_labels`.

    max_length: tokens of a row, the template's prefix included. Raises `DataError` for a record without one of the texts
    that the template asks for.
    """

    def __init__(
        self,
        records: Sequence[Mapping[str, str]],
        labels: npt.NDArray[np.int64],
        template: WordPrompt,
        pad_id: int,
        max_length: int,
        places: Places = None,
    ) -> None:
        assert len(records) == len(labels)
        self._template, self._labels, self._pad_id = template, torch.from_numpy(labels), pad_id
        self._filled: list[Filled] = []
        for number, record in enumerate(records):
            for slot in template.slots:
                if slot not in record:
                    raise _no_text(name_record(number, places), slot)
            self._filled.append(template.fill(record, max_length))
        first_rows = [filled.rows[0] for filled in self._filled]
        check_not_empty(first_rows, places)
        self.cut = [filled.cut for filled in self._filled]
        self.lengths = Lengths.of(first_rows, self.cut)
        self._sizes = np.array([len(row) for row in first_rows], np.int64)
        M = max(map(len, template.words))
        self._words_KM = torch.tensor([[*ids, *[IGNORE] * (M - len(ids))] for ids in template.words])

    def __len__(self) -> int:
        return len(self._filled)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Tokens of each record: what length buckets are made by."""
        return self._sizes

    @property
    def shared(self) -> list[int]:
        """The ids that all rows begin with, up to where words are predicted: of a causal model, they need be read once."""
        rows = [one.rows[0][: one.gap + self._template.first_spot] for one in self._filled]
        first, last = min(rows), max(rows)  # whatever these two have in common, all between them have
        alike = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
        return [id for id, _ in alike]

    def after(self, count: int) -> "PromptedTexts":
        """The same without the first `count` ids of each row; sizes stay, for a cache holds what is left out."""
        short = copy(self)
        short._filled = [
            Filled([row[count:] for row in one.rows], one.gap - count, one.cut) for one in self._filled
        ]
        return short

    def batch(self, rows: npt.NDArray[np.int64], seeds: Sequence[RowSeed]) -> PromptedBatch:
        """The given records; nothing about them is drawn."""
        chosen = [self._filled[row] for row in rows]
        inputs = lay_inputs([ids for filled in chosen for ids in filled.rows], "padded", self._pad_id)
        B, M, T = len(chosen), self._words_KM.shape[1], inputs.tokens_BT.shape[1]
        first_B = torch.tensor([filled.gap + self._template.first_spot for filled in chosen])
        row_K, place_M = torch.tensor(self._template.row_of_word), torch.arange(M)
        within_BM = (first_B[:, None] + place_M).clamp(max=T - 1)  # of words that have a token there
        documents_BT = inputs.documents_BT
        return PromptedBatch(
            inputs.tokens_BT.view(B, -1, T),
            row_K[:, None] * T + within_BM[:, None],
            self._words_KM.repeat(B, 1, 1),
            self._labels[torch.from_numpy(rows)],
            None if documents_BT is None else documents_BT.view(B, -1, T),
        )


def _no_text(record: str, slot: str) -> DataError:
    return DataError(
        Text(f"Record {record} has no text {slot!r}, which the template asks for.",
             f"记录 {record} 没有模板所需的文本 {slot!r}。"),
        Text("Mend the record or the template.", "请修改该记录或模板。"),
    )  # fmt: skip

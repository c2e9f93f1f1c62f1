"""Questions with choices that are judged by how likely each is as the answer.

B records, K choices of the record that has most, M tokens of the longest, R different rows of a record, T time.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from hanlin.batches.batch import IGNORE
from hanlin.batches.loader import Examples, RowSeed
from hanlin.batches.prompted import PromptedBatch
from hanlin.batches.ragged import Lengths, lay_inputs

Ids = list[int]


class Choices(Examples):
    """Prompts with the ids of their choices and the number of the right one; `IGNORE` where it is not known.

    A record has a row for each choice but those that differ in their last token alone, which share one. cut: tokens that
    each prompt lost. tokens: of the choices. A choice that a record does not have is `IGNORE` throughout `words_BKM`.
    """

    def __init__(
        self,
        prompts: Sequence[Ids],
        choices: Sequence[Sequence[Ids]],
        right: Sequence[int],
        pad_id: int,
        cut: Sequence[int],
    ) -> None:
        self._prompts, self._choices, self._pad_id = prompts, choices, pad_id
        self._right_N = torch.tensor(list(right))
        self._reads = [list(dict.fromkeys(tuple(ids[:-1]) for ids in those)) for those in choices]
        self.tokens = [[len(ids) for ids in those] for those in choices]
        self.lengths = Lengths.of(prompts, cut)

    def __len__(self) -> int:
        return len(self._prompts)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Tokens of all rows of each record."""
        pairs = zip(self._prompts, self._reads, strict=True)
        return np.array([len(reads) * (len(ids) + max(map(len, reads))) for ids, reads in pairs], np.int64)

    def batch(self, rows: npt.NDArray[np.int64], seeds: Sequence[RowSeed]) -> PromptedBatch:
        """The given records; nothing about them is drawn."""
        R = max(len(self._reads[row]) for row in rows)
        texts = [
            [*self._prompts[row], *reads]
            for row in rows
            for reads in [*self._reads[row], *self._reads[row][:1] * (R - len(self._reads[row]))]
        ]
        inputs = lay_inputs(texts, "padded", self._pad_id)
        T, B = inputs.tokens_BT.shape[1], len(rows)
        K = max(len(self._choices[row]) for row in rows)
        M = max(len(ids) for row in rows for ids in self._choices[row])
        words_BKM = np.full((B, K, M), IGNORE, np.int64)
        spots_BKM = np.zeros((B, K, M), np.int64)
        for place, row in enumerate(rows):
            first = len(self._prompts[row]) - 1
            for k, ids in enumerate(self._choices[row]):
                words_BKM[place, k, : len(ids)] = ids
                start = self._reads[row].index(tuple(ids[:-1])) * T + first
                spots_BKM[place, k, : len(ids)] = range(start, start + len(ids))
        documents_BT = inputs.documents_BT
        return PromptedBatch(
            inputs.tokens_BT.view(B, R, T),
            torch.from_numpy(spots_BKM),
            torch.from_numpy(words_BKM),
            self._right_N[torch.from_numpy(rows)],
            None if documents_BT is None else documents_BT.view(B, R, T),
        )

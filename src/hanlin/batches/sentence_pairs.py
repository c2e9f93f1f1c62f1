"""Pairs of stretches of text, and whether the second belongs behind the first.

Next-sentence prediction (arXiv 1810.04805, section 3.1, task 2, and appendix A.2): half of the pairs are adjacent, of
the others the second comes from another document. Sentence order (ALBERT, arXiv 1909.11942, section 3.1): both are
adjacent, and in half of the pairs they have changed places. Some tokens are hidden, as for a masked language model.

B rows, T row length, S sentences, D documents, R rows of the corpus.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from numpy.random import Generator
from torch import Tensor

from hanlin.base.errors import ConfigError, DataError
from hanlin.base.language import Text
from hanlin.batches.batch import IGNORE, Rowed
from hanlin.batches.loader import RowSeed
from hanlin.batches.masking import Masking
from hanlin.batches.store import Ids
from hanlin.tokenizer.framing import longest_first
from hanlin.tokenizer.special import SpecialIds

Ints = npt.NDArray[np.int64]

Question = Literal["next-sentence", "sentence-order"]

FOLLOWS, DOES_NOT = 0, 1
"""The two answers, in the order of BERT's head: the second stretch is in its place, or not."""


@dataclass(frozen=True)
class PairBatch(Rowed):
    """`[CLS] first [SEP] second [SEP]` a row, padded on the right.

    tokens_BT, targets_BT: as for a masked language model. segments_BT: 0 up to the first `[SEP]`, then 1. documents_BT:
    0, and -1 on padding. answers_B: `FOLLOWS` or `DOES_NOT`.
    """

    tokens_BT: Tensor
    targets_BT: Tensor
    segments_BT: Tensor
    documents_BT: Tensor
    answers_B: Tensor


@dataclass(frozen=True)
class Sentences:
    """A token stream and the place where each sentence in it begins: ascending, none in two documents."""

    tokens: Ids
    starts_S: Ints
    end_id: int

    @cached_property
    def first_D(self) -> Ints:
        """The first sentence of each document that has any."""
        return np.flatnonzero(self.tokens[self.starts_S - 1] == self.end_id)

    def document(self, sentence: int) -> int:
        """The document that a sentence is in."""
        return int(np.searchsorted(self.first_D, sentence, "right")) - 1

    def end(self, document: int) -> int:
        """The sentence after the last one of a document."""
        return int(self.first_D[document + 1]) if document + 1 < len(self.first_D) else len(self.starts_S)

    def stop(self, sentence: int) -> int:
        """The place after the last token of a sentence."""
        if sentence + 1 == len(self.starts_S):
            return len(self.tokens) - 1
        place = int(self.starts_S[sentence + 1])
        return place - int(self.tokens[place - 1] == self.end_id)

    def ids(self, first: int, end: int) -> Ints:
        """The tokens of the sentences first .. end-1 of one document."""
        return self.tokens[int(self.starts_S[first]) : self.stop(end - 1)].astype(np.int64)

    def fill(self, first: int, end: int, room: int) -> int:
        """The sentence before which sentences from `first` on reach `room` tokens; one later at least, `end` at most."""
        reach = np.searchsorted(self.starts_S, self.starts_S[first] + room)
        return min(max(int(reach), first + 1), end)


@dataclass(frozen=True)
class PairRows:
    """The pairs of a corpus. Row r is a run of sentences; where it is cut, and its partner, its seed draws.

    Every sentence of a document with at least two is in one row. length: the longest row. Only the borders of rows are
    held in memory. Raises `DataError` where there is no pair, or nothing that a negative could come from.
    """

    sentences: Sentences
    length: int
    special: SpecialIds
    masking: Masking
    question: Question

    def __post_init__(self) -> None:
        assert self.special.cls is not None
        assert self.special.sep is not None
        if self._room < 4:
            raise ConfigError(
                Text(f"model.window {self.length} is too short for a pair of sentences.",
                     f"model.window 为 {self.length}，放不下一个句对。"),
                Text("Set model.window to 32 or more.", "请把 model.window 设为 32 或更大。"),
            )  # fmt: skip
        documents = len(self.sentences.first_D)
        if not len(self) or (self.question == "next-sentence" and documents < 2):
            raise DataError(
                Text(
                    f"{self.question} needs at least two documents, and one with two sentences; the split has {documents} documents "
                    f"with {len(self.sentences.starts_S)} sentences.",
                    f"{self.question} 至少需要两篇文档，且其中一篇至少有两句；该数据集有 {documents} 篇文档，"
                    f"共 {len(self.sentences.starts_S)} 句。",
                ),
                Text("Give more documents, or cut long ones apart.", "请提供更多文档，或将长文档切开。"),
            )

    def __len__(self) -> int:
        return len(self._rows_R2)

    def batch(self, rows: Ints, seeds: Sequence[RowSeed]) -> PairBatch:
        """The given rows, padded to the longest of them."""
        made = [
            self._row(int(row), np.random.default_rng(seed)) for row, seed in zip(rows, seeds, strict=True)
        ]
        T = max(len(tokens) for tokens, _, _, _ in made)
        documents = [np.zeros(len(tokens), np.int64) for tokens, _, _, _ in made]
        return PairBatch(
            tokens_BT=_padded([tokens for tokens, _, _, _ in made], T, self.special.pad),
            targets_BT=_padded([targets for _, targets, _, _ in made], T, IGNORE),
            segments_BT=_padded([segments for _, _, segments, _ in made], T, 0),
            documents_BT=_padded(documents, T, -1),
            answers_B=torch.tensor([answer for _, _, _, answer in made]),
        )

    @property
    def _room(self) -> int:
        """Tokens of text in a row."""
        return self.length - 3

    @cached_property
    def _rows_R2(self) -> Ints:
        """First and last + 1 sentence of each row: at least two, and as many as fit."""
        rows: list[tuple[int, int]] = []
        for document, first in enumerate(self.sentences.first_D.tolist()):
            end = self.sentences.end(document)
            while first + 1 < end:
                stop = max(self.sentences.fill(first, end, self._room), first + 2)
                stop = end if stop == end - 1 else stop  # a last sentence alone would be in no pair
                rows.append((first, stop))
                first = stop
        return np.array(rows, np.int64).reshape(-1, 2)

    def _row(self, row: int, random: Generator) -> tuple[Ints, Ints, Ints, int]:
        """Tokens, targets, segments and the answer of one row."""
        first, second, answer = self._pair(int(self._rows_R2[row, 0]), int(self._rows_R2[row, 1]), random)
        kept = longest_first((len(first), len(second)), self._room)
        first, second = (
            first[len(first) - kept[0] :],
            second[: kept[1]],
        )  # so that the border between them stays
        cls, sep = (np.array([id], np.int64) for id in (self.special.cls, self.special.sep))
        ids_T = np.concatenate((cls, first, sep, second, sep))
        segments_T = (np.arange(len(ids_T)) > len(first) + 1).astype(np.int64)
        return *self.masking(ids_T, random), segments_T, answer

    def _pair(self, begin: int, end: int, random: Generator) -> tuple[Ints, Ints, int]:
        middle = int(random.integers(begin + 1, end))
        first, second = self.sentences.ids(begin, middle), self.sentences.ids(middle, end)
        if random.random() < 0.5:
            return first, second, FOLLOWS
        if self.question == "sentence-order":
            return second, first, DOES_NOT
        return first, self._elsewhere(begin, max(1, self._room - len(first)), random), DOES_NOT

    def _elsewhere(self, sentence: int, room: int, random: Generator) -> Ints:
        """Sentences of another document, about `room` tokens."""
        own = self.sentences.document(sentence)
        other = int(random.integers(len(self.sentences.first_D) - 1))
        other += other >= own
        end = self.sentences.end(other)
        begin = int(random.integers(self.sentences.first_D[other], end))
        return self.sentences.ids(begin, self.sentences.fill(begin, end, room))


def _padded(rows: Sequence[Ints], T: int, value: int) -> Tensor:
    padded_BT = np.full((len(rows), T), value, np.int64)
    for row, values in zip(padded_BT, rows, strict=True):
        row[: len(values)] = values
    return torch.from_numpy(padded_BT)

"""Recall at a distance: a mark says which symbol to keep, others follow, and a question asks for the marked one.

    7 2 ! 5 1 9 9 3 . . . 4 ?        symbols (0 .. S-1) at random; `!` marks the next one; `?` wants it: 5

What a model must carry over the k symbols between is one of S symbols and nothing else, so that what is measured is
memory, and keeping what matters from what does not, and no knowledge of a language. The answer is never shown. Such
problems are those by which recurrent networks were first held against distance (Hochreiter & Schmidhuber 1997,
section 5); the marks are those of its adding problem.

B rows, T time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hanlin.base.device import Compute
from hanlin.batches.batch import IGNORE, Batch
from hanlin.model.classical.ngram import NGramModel

Ids = NDArray[np.int64]

SYMBOLS = 16
"""How many symbols there are; guessing is right once in so many times."""
MARK, QUESTION = SYMBOLS, SYMBOLS + 1
VOCAB_SIZE = SYMBOLS + 2
_LEAD = 16
"""Most symbols before the mark: its place in the row tells nothing."""


@dataclass(frozen=True)
class RecallRows:
    """An endless source of such rows, their distances in turn; takes a loader's place in training.

    The rows depend on the seed and on how many were taken before, on nothing else.
    """

    distances: tuple[int, ...]
    rows: int
    seed: int = 0

    @property
    def length(self) -> int:
        """Tokens of a row."""
        return _LEAD + max(self.distances) + 3

    def stream(self, taken: int) -> Iterator[Batch]:
        """Endless batches after the first `taken` rows."""
        while True:
            yield self.draw(self.rows, taken)[0]
            taken += self.rows

    def once(self, limit: int | None = None) -> Iterator[Batch]:
        """One batch of `limit` rows that no training meets."""
        yield self.draw(limit or self.rows, None)[0]

    def draw(self, rows: int, taken: int | None) -> tuple[Batch, Ids]:
        """`rows` rows and the place of the question in each; None stands for rows that no training meets.

        Symbols follow the question too, so that rows are of one length; only the question has a target.
        """
        generator = np.random.default_rng((self.seed, 0 if taken is None else taken + 1))
        tokens_BT = generator.integers(0, SYMBOLS, (rows, self.length))
        mark_B = generator.integers(0, _LEAD, rows, endpoint=True)
        distance_B = np.array(self.distances)[((taken or 0) + np.arange(rows)) % len(self.distances)]
        row_B, question_B = np.arange(rows), mark_B + 2 + distance_B
        tokens_BT[row_B, mark_B] = MARK
        tokens_BT[row_B, question_B] = QUESTION
        targets_BT = np.full_like(tokens_BT, IGNORE)
        targets_BT[row_B, question_B] = tokens_BT[row_B, mark_B + 1]
        return Batch(torch.from_numpy(tokens_BT), torch.from_numpy(targets_BT)), question_B


def recall_of_network(model: nn.Module, source: RecallRows, rows_each: int, compute: Compute) -> list[float]:
    """Share of questions at each distance whose answer is the likeliest token, over `rows_each` rows a distance."""
    batch, question_B = source.draw(rows_each * len(source.distances), None)
    was_training = model.training
    with torch.inference_mode(), compute.autocast():
        said_BT = model.eval()(batch.tokens_BT.to(compute.device)).argmax(dim=-1).cpu().numpy()
    model.train(was_training)
    row_B = np.arange(batch.rows)
    right_B = said_BT[row_B, question_B] == batch.targets_BT.numpy()[row_B, question_B]
    return _by_distance(right_B, source)


def recall_of_ngram(source: RecallRows, order: int, taught: int, rows_each: int) -> list[float]:
    """The same for an n-gram model that has counted the questions and answers of `taught` rows.

    Only what it can see is given to it: the `order` - 1 tokens before an answer.
    """
    seen = order - 1
    documents: list[Ids] = []
    for taken in range(0, taught, source.rows):
        contexts, answers_B = _contexts(*source.draw(source.rows, taken), seen)
        documents += [np.append(context, answer) for context, answer in zip(contexts, answers_B, strict=True)]
    model = NGramModel.train(documents, VOCAB_SIZE, order, eos_id=QUESTION)
    contexts, answers_B = _contexts(*source.draw(rows_each * len(source.distances), None), seen)
    said_B = np.array([_likeliest_symbol(model, context) for context in contexts])
    return _by_distance(said_B == answers_B, source)


def _by_distance(right_B: NDArray[np.bool_], source: RecallRows) -> list[float]:
    return [float(share) for share in right_B.reshape(-1, len(source.distances)).mean(axis=0)]


def _contexts(batch: Batch, question_B: Ids, seen: int) -> tuple[list[Ids], Ids]:
    """The last `seen` tokens up to each question, and its answer."""
    tokens_BT, row_B = batch.tokens_BT.numpy(), np.arange(batch.rows)
    contexts = [
        tokens_T[max(0, place + 1 - seen) : place + 1]
        for tokens_T, place in zip(tokens_BT, question_B, strict=True)
    ]
    return contexts, batch.targets_BT.numpy()[row_B, question_B]


def _likeliest_symbol(model: NGramModel, context: Ids) -> int:
    return int(np.argmax([model.logprobs(np.append(context, symbol))[-1] for symbol in range(SYMBOLS)]))


def recall_reach(distances: tuple[int, ...], shares: list[float], enough: float = 0.9) -> int:
    """The longest distance up to which every share is at least `enough`; 0 if not even the first is."""
    longest = 0
    for distance, share in sorted(zip(distances, shares, strict=True)):
        if share < enough:
            break
        longest = distance
    return longest

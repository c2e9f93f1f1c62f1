"""Hiding tokens for masked language models: 15 % chosen; of those 80 % hidden, 10 % replaced, 10 % kept.

The sequence keeps its length and its positions, and every prediction sees all chosen places changed at once: none
sees another's answer. Source: arXiv 1810.04805, section 3.1 and appendix A.1; whole words arXiv 1906.08101.

T time, N tokens that may be chosen, W words among them, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from hanlin.batches.batch import IGNORE

Ints = npt.NDArray[np.int64]

Words = Callable[[Ints], Ints]
"""Numbers the tokens of a row by word, as `tokenizer.word_numbers` does."""


@dataclass(frozen=True)
class Masking:
    """What a masked language model may choose from, and how it hides what is chosen.

    share: of the tokens that may be chosen, at least one a row. hidden, replaced: shares of the chosen; the
    rest is kept as it is. mask_id stands for hidden ones; replacements are drawn from 0 .. vocab_size-1 without
    special_ids, which are never chosen either. words: with it whole words are chosen, all tokens of each.
    """

    mask_id: int
    vocab_size: int
    special_ids: frozenset[int]
    share: float = 0.15
    hidden: float = 0.8
    replaced: float = 0.1
    words: Words | None = None

    def __post_init__(self) -> None:
        assert 0 < self.share <= 1
        assert 0 <= self.hidden <= self.hidden + self.replaced <= 1
        assert self.special_ids < set(range(self.vocab_size))

    def __call__(self, ids_T: Ints, random: Generator) -> tuple[Ints, Ints]:
        """What the model reads of a row and what it must say there: (inputs_T, targets_T), int64.

        Another generator, other choices: call it anew each epoch.
        """
        inputs_T, targets_T = ids_T.copy(), np.full_like(ids_T, IGNORE)
        chosen = self._choose(ids_T, random)
        targets_T[chosen] = ids_T[chosen]
        fate = random.random(len(chosen))
        inputs_T[chosen[fate < self.hidden]] = self.mask_id
        swapped = chosen[(fate >= self.hidden) & (fate < self.hidden + self.replaced)]
        inputs_T[swapped] = random.choice(self._ordinary, len(swapped))
        return inputs_T, targets_T

    def _choose(self, ids_T: Ints, random: Generator) -> Ints:
        """Places of words in random order until `share` of the row is reached."""
        able_N = np.flatnonzero(~self._is_special_V[ids_T])
        if not len(able_N):
            return able_N
        if self.words is None:
            word_N, sizes_W = np.arange(len(able_N)), np.ones(len(able_N), np.int64)
        else:
            _, word_N, sizes_W = np.unique(self.words(ids_T)[able_N], return_inverse=True, return_counts=True)
        order_W = random.permutation(len(sizes_W))
        wanted = max(1, round(self.share * len(able_N)))
        enough = int(np.searchsorted(np.cumsum(sizes_W[order_W]), wanted)) + 1
        is_chosen_W = np.zeros(len(sizes_W), bool)
        is_chosen_W[order_W[:enough]] = True
        return able_N[is_chosen_W[word_N]]

    @cached_property
    def _is_special_V(self) -> npt.NDArray[np.bool_]:
        return np.isin(np.arange(self.vocab_size), list(self.special_ids))

    @cached_property
    def _ordinary(self) -> Ints:
        return np.flatnonzero(~self._is_special_V)

"""Hiding tokens for masked language models: 15 % chosen; of those 80 % hidden, 10 % replaced, 10 % kept.

The sequence keeps its length and its positions, and every prediction sees all chosen places changed at once: none
sees another's answer. Source: arXiv 1810.04805, section 3.1 and appendix A.1; whole words arXiv 1906.08101.

B batch, T time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from hanlin.batches.batch import IGNORE


@dataclass(frozen=True)
class Masking:
    """What a masked language model may choose from, and how it hides what is chosen.

    share: of the tokens that may be chosen, at least one a row. hidden, replaced: shares of the chosen; the
    rest is kept as it is. mask_id stands for hidden ones; replacements are drawn from 0 .. vocab_size-1 without
    special_ids, which are never chosen either.
    """

    mask_id: int
    vocab_size: int
    special_ids: frozenset[int]
    share: float = 0.15
    hidden: float = 0.8
    replaced: float = 0.1

    def __post_init__(self) -> None:
        assert 0 < self.share <= 1
        assert 0 <= self.hidden <= self.hidden + self.replaced <= 1
        assert self.special_ids < set(range(self.vocab_size))

    def __call__(
        self, tokens_BT: Tensor, random: Generator, words_BT: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the model reads and what it must say there: (inputs_BT, targets_BT), int64.

        words_BT: the number of each token's word within its row (-1: in none); then whole words are chosen, all
        tokens of each. Without it each token is a word. Other generators, other choices: call it anew each epoch.
        """
        inputs_BT, targets_BT = tokens_BT.clone(), torch.full_like(tokens_BT, IGNORE)
        ordinary = np.setdiff1d(np.arange(self.vocab_size), sorted(self.special_ids))
        for row, ids_T in enumerate(tokens_BT.numpy()):
            words_T = np.arange(len(ids_T)) if words_BT is None else words_BT[row].numpy()
            chosen = self._choose(ids_T, words_T, random)
            targets_BT[row, chosen] = tokens_BT[row, chosen]
            fate = random.random(len(chosen))
            inputs_BT[row, chosen[fate < self.hidden]] = self.mask_id
            swapped = chosen[(fate >= self.hidden) & (fate < self.hidden + self.replaced)]
            inputs_BT[row, swapped] = torch.from_numpy(random.choice(ordinary, len(swapped)))
        return inputs_BT, targets_BT

    def _choose(self, ids_T: np.ndarray, words_T: np.ndarray, random: Generator) -> np.ndarray:
        """Places of words in random order until `share` of the row is reached."""
        able = ~np.isin(ids_T, sorted(self.special_ids)) & (words_T >= 0)
        if not able.any():
            return np.empty(0, np.int64)
        order = random.permutation(np.unique(words_T[able]))
        sizes = np.array([(able & (words_T == word)).sum() for word in order])
        wanted = max(1, round(self.share * int(able.sum())))
        enough = int(np.searchsorted(np.cumsum(sizes), wanted)) + 1
        return np.flatnonzero(able & np.isin(words_T, order[:enough]))


def word_numbers(offsets: Sequence[tuple[int, int]], words: Sequence[str]) -> list[int]:
    """The number of the word that each token begins in, -1 for tokens without characters (special ones).

    offsets: each token's first and last + 1 character of the text; words: the text cut into pieces, all of it,
    as `tokenizer.words` cuts Chinese and English.
    """
    owner = np.repeat(np.arange(len(words)), [len(word) for word in words])
    return [int(owner[start]) if stop > start else -1 for start, stop in offsets]

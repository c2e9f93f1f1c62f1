"""The n-gram language model with interpolated modified Kneser-Ney smoothing.

The first rung of the ladder: what can be had from counting alone. Sources: Kneser & Ney 1995, "Improved
backing-off for m-gram language modeling"; Chen & Goodman 1999, "An empirical study of smoothing techniques
for language modeling" (equation numbers below).

With h = w_1 .. w_{n-1} the context, h' = w_2 .. w_{n-1} the context without its oldest token, and a(.) the
adjusted count of `hanlin.model.classical.counts`,

    p(w | h) = (a(h w) - D(a(h w))) / a(h .)  +  gamma(h) p(w | h')                          (after eq. 24)
    gamma(h) = (D1 N_1(h .) + D2 N_2(h .) + D3+ N_3+(h .)) / a(h .)                          (eq. 25)

where a(h .) sums a(h w) over w, N_k(h .) counts the w with a(h w) = k, and a context that was never seen
passes on p(w | h'). Below the unigrams stands the uniform distribution 1 / V, so that every token of the
vocabulary has a probability above zero in every context and the probabilities of a context sum to one.

Each order has its own discounts, from the number t_k of its n-grams whose adjusted count is k (eq. 26):

    Y = t_1 / (t_1 + 2 t_2)     D1 = 1 - 2 Y t_2 / t_1     D2 = 2 - 3 Y t_3 / t_2     D3+ = 3 - 4 Y t_4 / t_3

Why adjusted counts: "Francisco" is frequent but only ever follows "San". When a lower order is asked, the
context was not seen together with the word, and what then matters is after how many different tokens the
word can come.

Shape suffixes: T tokens of a document, G distinct n-grams of one order, C contexts (n-grams of the order
below); S is T + 1, the begin mark standing first.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hanlin.model.classical.counts import Ids, OrderCounts, check_ids, count_ngrams

Floats = NDArray[np.float64]

UNSEEN = -1
"""The name of an n-gram that training did not see. As an index it finds the last entry of an array."""

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""Used for an order whose counts are too few for equation 26; the values are KenLM's."""


@dataclass(frozen=True)
class Level:
    """What the model knows of one order.

    key_G: the n-grams, int64 ascending. share_G: (a(h w) - D) / a(h .) of each, float64. gamma_C: gamma(h)
    of each context, 1 where the context was never continued, float64. `share_G` and `gamma_C` have one entry
    more at the end, for what was not seen: 0 and 1. `estimated`: whether `discounts` come from equation 26.
    """

    key_G: Ids
    share_G: Floats
    gamma_C: Floats
    discounts: tuple[float, float, float]
    estimated: bool


class NGramModel:
    """An interpolated modified Kneser-Ney model over token ids, exact and without pruning.

    Memory while scoring: 24 bytes a distinct n-gram, 16 for those of the highest order. Memory while
    training: about 150 bytes a token of the text at order 5. `tokens` is the number of tokens counted.
    """

    def __init__(self, levels: tuple[Level, ...], vocab_size: int, tokens: int) -> None:
        self.levels = levels
        self.vocab_size = vocab_size
        self.tokens = tokens

    @classmethod
    def train(
        cls,
        token_documents: Iterable[NDArray[np.integer]],
        vocab_size: int,
        order: int = 5,
        *,
        eos_id: int,
    ) -> "NGramModel":
        """Count `token_documents` (one integer array per document) and smooth the counts.

        A document that does not end in `eos_id` is counted as if it did. `order` is the length of the
        longest n-gram: a token is predicted from at most `order - 1` tokens before it. No document at all
        gives the uniform model.
        """
        counts = count_ngrams(token_documents, vocab_size, order, eos_id)
        levels: list[Level] = []
        contexts = 1
        for n, order_counts in enumerate(counts.orders, 1):
            # A unigram's only context is the empty one; that of a longer n-gram is the head of its key.
            key_G = order_counts.key_G
            context_G = key_G // (vocab_size + 1) if n > 1 else np.zeros_like(key_G)
            levels.append(_smooth(order_counts, context_G, contexts))
            contexts = len(key_G)
        return cls(tuple(levels), vocab_size, counts.tokens)

    @property
    def order(self) -> int:
        """The length of the longest n-gram."""
        return len(self.levels)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(a.nbytes for level in self.levels for a in (level.key_G, level.share_G, level.gamma_C))

    def logprobs(self, ids: NDArray[np.integer]) -> Floats:
        """Natural logarithm of P(x_t | the `order - 1` tokens before it) for each token of one document.

        ids_T integers -> float64 of shape T. The document begins in the begin context; its eos is scored if
        it is among `ids`.
        """
        ids_T = np.asarray(ids, dtype=np.int64)
        check_ids(ids_T, self.vocab_size)
        unigrams = self.levels[0]
        p_T = unigrams.share_G[ids_T] + unigrams.gamma_C[0] / self.vocab_size
        name_S = np.concatenate([[self.vocab_size], ids_T])
        for level in self.levels[1:]:
            context_T = name_S[:-1]
            name_T = _find(level.key_G, context_T, ids_T, self.vocab_size + 1)
            p_T = level.share_G[name_T] + level.gamma_C[context_T] * p_T
            name_S = np.concatenate([[UNSEEN], name_T])
        log_p_T: Floats = np.log(p_T)
        return log_p_T


def _find(key_G: Ids, context_T: Ids, ids_T: Ids, base: int) -> Ids:
    """The names of the n-grams (context, token)."""
    if len(key_G) == 0:
        return np.full(len(ids_T), UNSEEN, np.int64)
    key_T = context_T * base + ids_T
    place_T = np.minimum(np.searchsorted(key_G, key_T), len(key_G) - 1)
    return np.where((context_T != UNSEEN) & (key_G[place_T] == key_T), place_T, UNSEEN)


def _smooth(counts: OrderCounts, context_G: Ids, contexts: int) -> Level:
    """Turn the adjusted counts of one order into shares and back-off weights (eqs. 24 and 25)."""
    discounts, estimated = _discounts(counts.count_G)
    discount_G = np.array([0.0, *discounts])[np.minimum(counts.count_G, 3)]
    total_C = np.bincount(context_G, counts.count_G, minlength=contexts)
    freed_C = np.bincount(context_G, discount_G, minlength=contexts)
    gamma_C = np.ones(contexts + 1)
    np.divide(freed_C, total_C, out=gamma_C[:-1], where=total_C > 0)
    share_G = np.zeros(len(context_G) + 1)
    np.divide(counts.count_G - discount_G, total_C[context_G], out=share_G[:-1], where=counts.count_G > 0)
    return Level(counts.key_G, share_G, gamma_C, discounts, estimated)


def _discounts(count_G: Ids) -> tuple[tuple[float, float, float], bool]:
    """D1, D2, D3+ of one order by equation 26, and whether the counts sufficed to estimate them."""
    t1, t2, t3, t4 = (int(np.count_nonzero(count_G == k)) for k in (1, 2, 3, 4))
    if min(t1, t2, t3) == 0:
        return FALLBACK_DISCOUNTS, False
    y = t1 / (t1 + 2 * t2)
    d1, d2, d3 = 1 - 2 * y * t2 / t1, 2 - 3 * y * t3 / t2, 3 - 4 * y * t4 / t3
    if not (0 < d1 <= 1 and 0 < d2 <= 2 and 0 < d3 <= 3):
        return FALLBACK_DISCOUNTS, False
    return (d1, d2, d3), True

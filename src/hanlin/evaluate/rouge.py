"""ROUGE: how much of a reference text a written one has in common with it (Lin 2004).

    ROUGE-n   n-grams in common, each as often as both have it          ROUGE-L   longest common subsequence of words
    F1 = 2 P R / (P + R), P of what was written, R of the reference; the best over references, the mean over texts

Words are those of `evaluate/words.py`, so that Chinese counts: on English text the figures are those of the
`rouge_score` package without stemming; on Chinese text that package sees no words at all.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from hanlin.evaluate.measure import Measure, mean_of
from hanlin.evaluate.words import counted_words

Words = Sequence[str]


def rouge_measures(
    targets: Sequence[Sequence[str]],
    said: Sequence[str],
    words_of: Callable[[str], list[str]] = counted_words,
) -> tuple[Measure, Measure, Measure]:
    """The mean F1 of ROUGE-1, ROUGE-2 and ROUGE-L, each 0 to 1; every record has at least one target."""
    written = [words_of(text) for text in said]
    references = [[words_of(text) for text in texts] for texts in targets]

    def measure(name: str, f1: Callable[[Words, Words], float]) -> Measure:
        pairs = zip(written, references, strict=True)
        return mean_of(name, np.array([max(f1(one, other) for other in others) for one, others in pairs]))

    return (
        measure("rouge1", lambda one, other: rouge_n(one, other, 1)),
        measure("rouge2", lambda one, other: rouge_n(one, other, 2)),
        measure("rougeL", rouge_l),
    )


def rouge_n(written: Words, reference: Words, n: int) -> float:
    """F1 of n-grams in common; 0 where either text has none."""
    first, second = n_grams(written, n), n_grams(reference, n)
    return _f1((first & second).total(), first.total(), second.total())


def rouge_l(written: Words, reference: Words) -> float:
    """F1 of the longest common subsequence; 0 where either text is empty."""
    return _f1(longest_common_subsequence(written, reference), len(written), len(reference))


def n_grams(words: Words, n: int) -> Counter[tuple[str, ...]]:
    """How often `words` has each sequence of n words."""
    return Counter(zip(*(words[start:] for start in range(n)), strict=False))


def longest_common_subsequence(first: Words, second: Words) -> int:
    """The length of the longest sequence of words that both have in this order, with gaps.

    Bit i of `open_places` says that the length does not grow at word i of `first`. One row of the usual table is one
    addition of long integers (Hyyrö 2004, "Bit-parallel LCS-length computation revisited", figure 2).
    """
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    everywhere = (1 << len(first)) - 1
    open_places = everywhere
    for word in second:
        matches = open_places & places.get(word, 0)
        open_places = ((open_places + matches) | (open_places - matches)) & everywhere
    return len(first) - open_places.bit_count()


def _f1(common: int, first: int, second: int) -> float:
    return 2 * common / (first + second) if common else 0.0

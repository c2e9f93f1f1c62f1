"""Precision, recall and F1 from counts, and what they are where nothing was predicted or nothing was there.

Source: van Rijsbergen 1979, "Information Retrieval", chapter 7.

N records, K classes, M pairs of a record and a class.
"""

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import ArrayLike

from hanlin.evaluate.measure import Floats, Ids, Measure, counted_once

NOTHING = 0.0
"""A share of nothing (0 / 0): no positive was predicted, or none exists. Zero, so that it can not flatter a mean."""


def share(part: ArrayLike, whole: ArrayLike) -> Floats:
    """`part` / `whole`, element by element; `NOTHING` where the whole is 0."""
    whole = np.asarray(whole, np.float64)
    shares = np.full(whole.shape, NOTHING)
    np.divide(part, whole, out=shares, where=whole != 0)
    return shares


@dataclass(frozen=True)
class Counts:
    """Of each of K classes, (K,), or of one, (): found rightly, found wrongly, missed."""

    true_positives: Floats
    false_positives: Floats
    false_negatives: Floats

    @property
    def true(self) -> Floats:
        """How often each class is there: TP + FN."""
        return self.true_positives + self.false_negatives

    @property
    def said(self) -> Floats:
        """How often each class was predicted: TP + FP."""
        return self.true_positives + self.false_positives

    @property
    def precision(self) -> Floats:
        """TP / (TP + FP): how much of what was called positive is."""
        return share(self.true_positives, self.said)

    @property
    def recall(self) -> Floats:
        """TP / (TP + FN): how much of what is positive was found."""
        return share(self.true_positives, self.true)

    @property
    def f1(self) -> Floats:
        """The harmonic mean of precision and recall: 2 TP / (2 TP + FP + FN)."""
        return share(2 * self.true_positives, self.true + self.said)

    @property
    def together(self) -> "Counts":
        """The counts of all classes as if they were one: what is called micro."""
        return Counts(self.true_positives.sum(), self.false_positives.sum(), self.false_negatives.sum())


@dataclass(frozen=True)
class Tally:
    """The counts of K classes as a function of which of n records are looked at."""

    n: int
    of: Callable[[Ids], Counts]

    def measure(self, name: str, figure: Callable[[Counts], float | Floats]) -> Measure:
        """A figure of the counts."""
        return Measure(name, lambda ids: float(figure(self.of(ids))), self.n)

    def measures_of(self, number: int, prefix: str = "") -> tuple[Measure, Measure, Measure]:
        """F1, precision and recall of one class."""
        return (
            self.measure(f"{prefix}f1", lambda counts: counts.f1[number]),
            self.measure(f"{prefix}precision", lambda counts: counts.precision[number]),
            self.measure(f"{prefix}recall", lambda counts: counts.recall[number]),
        )


def tally(
    truth: Sequence[Collection[Hashable]],
    said: Sequence[Collection[Hashable]],
    class_of: Callable[[Hashable], int],
    classes: int,
) -> Tally:
    """Counts of records each of which has a set of things that are true and one of things that were said.

    Which class a thing belongs to, 0 to K - 1, `class_of` says; for labels it is the number of the label itself.
    """
    both = [set(true) & set(one) for true, one in zip(truth, said, strict=True)]
    pairs = [_pairs(things, class_of) for things in (truth, said, both)]
    n = len(both)

    @counted_once
    def count(ids: Ids) -> Counts:
        times_N = np.bincount(ids, minlength=n)
        true_K, said_K, both_K = (
            np.bincount(class_M, times_N[record_M], classes).astype(np.float64) for record_M, class_M in pairs
        )
        return Counts(both_K, said_K - both_K, true_K - both_K)

    return Tally(n, count)


def _pairs(things: Sequence[Collection[Hashable]], class_of: Callable[[Hashable], int]) -> tuple[Ids, Ids]:
    """The record and the class of each thing, (M,) both; a thing that a record has twice counts once."""
    sets = [set(one) for one in things]
    record_M = np.repeat(np.arange(len(sets)), [len(one) for one in sets])
    class_M = np.fromiter(map(class_of, chain.from_iterable(sets)), np.int64, len(record_M))
    return record_M, class_M


def macro_f1(counts: Counts) -> float:
    """The mean of the classes' F1, each class that is true or was said counting once."""
    return float(share(counts.f1.sum(), ((counts.true + counts.said) > 0).sum()))


def weighted_f1(counts: Counts) -> float:
    """The mean of the classes' F1, each class counting as often as it is true."""
    return float(share((counts.f1 * counts.true).sum(), counts.true.sum()))


def accuracy(counts: Counts) -> float:
    """Share of records whose one class was found: all true positives over all that is true."""
    return float(counts.together.recall)


def balanced_accuracy(counts: Counts) -> float:
    """The mean recall of the classes that are true of some record. Source: Brodersen et al. 2010."""
    return float(share(counts.recall.sum(), (counts.true > 0).sum()))


def matthews(counts: Counts) -> float:
    """The correlation of truth and prediction, -1 to 1, for K classes; `NOTHING` where either is always the same.

    Source: Matthews 1975; Gorodkin 2004, eq. 8, in which only the marginal sums and the diagonal are left.
    """
    n, right = counts.true.sum(), counts.true_positives.sum()
    spread = (n**2 - counts.true @ counts.true) * (n**2 - counts.said @ counts.said)
    return float(share(right * n - counts.true @ counts.said, np.sqrt(spread)))

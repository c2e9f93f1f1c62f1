"""Precision, recall and F1 from counts, and what they are where nothing was predicted or nothing was there.

Source: van Rijsbergen 1979, "Information Retrieval", chapter 7.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

NOTHING = 0.0
"""A share of nothing (0 / 0): no positive was predicted, or none exists. Zero, so that it can not flatter a mean."""


@dataclass(frozen=True)
class Counts:
    """Of one class: found rightly, found wrongly, missed."""

    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def precision(self) -> float:
        """TP / (TP + FP): how much of what was called positive is."""
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """TP / (TP + FN): how much of what is positive was found."""
        return _share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall: 2 TP / (2 TP + FP + FN)."""
        twice = 2 * self.true_positives
        return _share(twice, twice + self.false_positives + self.false_negatives)

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
        )


def count_classes(truth: Sequence[Hashable], predicted: Sequence[Hashable]) -> dict[Hashable, Counts]:
    """The counts of every class that is in either, in the order of first appearance."""
    assert len(truth) == len(predicted)
    pairs = list(zip(truth, predicted, strict=True))
    return {
        label: Counts(
            sum(t == label == p for t, p in pairs),
            sum(p == label != t for t, p in pairs),
            sum(t == label != p for t, p in pairs),
        )
        for label in dict.fromkeys([*truth, *predicted])
    }


def accuracy(truth: Sequence[Hashable], predicted: Sequence[Hashable]) -> float:
    """Share of predictions that are right."""
    return _share(sum(t == p for t, p in zip(truth, predicted, strict=True)), len(truth))


def micro_f1(classes: dict[Hashable, Counts]) -> float:
    """F1 of all counts together; equals accuracy where each item has one label."""
    return sum(classes.values(), Counts(0, 0, 0)).f1


def macro_f1(classes: dict[Hashable, Counts]) -> float:
    """The mean of the classes' F1, each class counting once."""
    return _share(sum(counts.f1 for counts in classes.values()), len(classes))


def weighted_f1(classes: dict[Hashable, Counts]) -> float:
    """The mean of the classes' F1, each class counting as often as it occurs."""
    support = {label: counts.true_positives + counts.false_negatives for label, counts in classes.items()}
    return _share(sum(classes[label].f1 * n for label, n in support.items()), sum(support.values()))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else NOTHING

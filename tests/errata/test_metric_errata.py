"""Metrics: the wrong definition gives another figure on a case that can be done by hand (docs/errata.md)."""

import pytest

from hanlin.evaluate.classification import (
    Counts,
    accuracy,
    count_classes,
    macro_f1,
    micro_f1,
    weighted_f1,
)

# 1 positive in 10, and nothing is ever called positive; then a detector that finds 2 of 4 with 1 false alarm.
RARE = ([1, *[0] * 9], [0] * 10)
TRUTH = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
FOUND = [1, 1, 0, 0, 1, 0, 0, 0, 0, 0]


def test_e22_f1_is_the_mean_of_precision_and_recall_not_of_accuracy():
    positive = count_classes(*RARE)[1]
    right = accuracy(*RARE)
    wrong = 2 * right * positive.recall / (right + positive.recall)
    assert (right, positive.precision, positive.recall, positive.f1, wrong) == (0.9, 0, 0, 0, 0)
    counts = count_classes(TRUTH, FOUND)[1]
    assert counts == Counts(true_positives=2, false_positives=1, false_negatives=2)
    assert counts.f1 == pytest.approx(2 * (2 / 3) * 0.5 / (2 / 3 + 0.5))
    right = accuracy(TRUTH, FOUND)
    assert counts.f1 != pytest.approx(2 * right * 0.5 / (right + 0.5))


def test_e23_precision_is_true_among_called_positive():
    counts = count_classes(TRUTH, FOUND)[1]
    assert counts.precision == pytest.approx(2 / 3)
    wrong = sum(FOUND) / sum(FOUND)  # "predicted positive and predicted positive" over predicted positive
    assert wrong == 1


def test_nothing_over_nothing_is_zero():
    assert Counts(0, 0, 0).precision == Counts(0, 0, 5).precision == Counts(0, 3, 0).recall == 0


def test_the_three_means_by_hand():
    classes = count_classes(["a", "a", "a", "b", "c", "c"], ["a", "a", "b", "b", "c", "a"])
    f1 = {"a": 2 * 2 / (4 + 1 + 1), "b": 2 / (2 + 1), "c": 2 / (2 + 1)}
    assert {label: counts.f1 for label, counts in classes.items()} == pytest.approx(f1)
    assert macro_f1(classes) == pytest.approx(sum(f1.values()) / 3)
    assert weighted_f1(classes) == pytest.approx((3 * f1["a"] + f1["b"] + 2 * f1["c"]) / 6)
    assert micro_f1(classes) == pytest.approx(4 / 6)

"""Metrics: the wrong definition gives another figure on a case that can be done by hand (docs/errata.md)."""

import numpy as np
import pytest

from hanlin.evaluate.classes import class_measures, measures_by_class
from hanlin.evaluate.classification import Counts

# 1 positive in 10, and nothing is ever called positive; then a detector that finds 2 of 4 with 1 false alarm.
RARE = ("1000000000", "0000000000")
TRUTH, FOUND = "1111000000", "1100100000"


def figures(truth: str, said: str, labels: str = "01") -> dict[str, float]:
    return {measure.name: measure.value for measure in class_measures([*truth], [*said], [*labels])}


def test_e22_f1_is_the_mean_of_precision_and_recall_not_of_accuracy():
    rare = figures(*RARE)
    assert [rare[name] for name in ("accuracy", "precision", "recall", "f1")] == [0.9, 0, 0, 0]
    found = figures(TRUTH, FOUND)
    assert found["f1"] == pytest.approx(2 * (2 / 3) * 0.5 / (2 / 3 + 0.5))
    wrong = 2 * found["accuracy"] * 0.5 / (found["accuracy"] + 0.5)
    assert (found["f1"], wrong) == (pytest.approx(4 / 7), pytest.approx(7 / 12))


def test_e22_with_accuracy_in_the_place_of_precision_a_false_alarm_all_but_vanishes():
    """The one positive of ten is found, and another is called so: precision a half, accuracy 0.9, recall 1."""
    found = figures("1000000000", "1100000000")
    assert found["f1"] == pytest.approx(2 / 3)
    wrong = 2 * found["accuracy"] * 1 / (found["accuracy"] + 1)
    assert wrong > 0.94


def test_e23_precision_is_true_among_called_positive():
    found = figures(TRUTH, FOUND)
    assert found["precision"] == pytest.approx(2 / 3)
    wrong = FOUND.count("1") / FOUND.count(
        "1"
    )  # "predicted positive and predicted positive" over predicted positive
    assert wrong == 1


def test_nothing_over_nothing_is_zero():
    counts = Counts(*np.array([[0, 0, 0], [0, 0, 3], [0, 5, 0]], np.float64))
    assert counts.precision.tolist() == counts.recall.tolist() == counts.f1.tolist() == [0, 0, 0]
    # A class that is in neither does not count in the mean over classes; one that is missed does.
    assert figures("ab", "aa", "abc")["macro_f1"] == pytest.approx((2 / 3) / 2)
    assert figures("aa", "aa")["mcc"] == 0


def test_the_means_by_hand():
    said = figures("aaabcc", "aabbca", "abc")
    f1 = {"a": 2 * 2 / (4 + 1 + 1), "b": 2 / (2 + 1), "c": 2 / (2 + 1)}
    by_class = measures_by_class([*"aaabcc"], [*"aabbca"], [*"abc"])
    assert {label: measures[0].value for label, measures in by_class.items()} == pytest.approx(f1)
    assert said["macro_f1"] == pytest.approx(sum(f1.values()) / 3)
    assert said["weighted_f1"] == pytest.approx((3 * f1["a"] + f1["b"] + 2 * f1["c"]) / 6)
    assert said["accuracy"] == pytest.approx(4 / 6)
    assert said["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)

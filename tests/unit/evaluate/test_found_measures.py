"""Sets of things found, by hand."""

import numpy as np
import pytest

from hanlin.evaluate.found import found_by_kind, found_measures, macro_f1_of_kinds

TRUTH = [{(0, 2, "人"), (5, 9, "地")}, set(), {(1, 3, "人")}]
SAID = [{(0, 2, "人"), (5, 8, "地"), (0, 2, "地")}, {(7, 8, "物")}, {(1, 3, "人")}]


def kind_of(span: tuple[int, int, str]) -> str:
    return span[2]


def test_a_thing_is_found_if_every_part_is_right() -> None:
    """2 of the 5 that were said are right, of 3 that are there."""
    values = {one.name: one.value for one in found_measures(TRUTH, SAID)}
    assert values == pytest.approx({"f1": 4 / 8, "precision": 2 / 5, "recall": 2 / 3})


def test_counts_are_of_all_chosen_records_together_each_as_often_as_chosen() -> None:
    f1, precision, recall = found_measures(TRUTH, SAID, "spans")
    assert (f1.name, precision.name, recall.name) == ("spans_f1", "spans_precision", "spans_recall")
    twice = np.array([0, 2, 2])
    assert (precision.of(twice), recall.of(twice)) == pytest.approx((3 / 5, 3 / 4))
    assert [one.of(np.array([1])) for one in (f1, precision, recall)] == [0, 0, 0]


def test_a_thing_said_twice_counts_once() -> None:
    assert found_measures([[("a", "r", "b")]], [[("a", "r", "b"), ("a", "r", "b")]])[1].value == 1


def test_each_kind_by_itself() -> None:
    by_kind = found_by_kind(TRUTH, SAID, kind_of)
    f1 = {kind: measures[0].value for kind, measures in by_kind.items()}
    assert f1 == {"人": 1, "地": 0, "物": 0}
    assert macro_f1_of_kinds(TRUTH, SAID, kind_of).value == pytest.approx(1 / 3)
    assert macro_f1_of_kinds(TRUTH, SAID, kind_of).of(np.array([2])) == 1


def test_nothing_to_find_and_nothing_said_is_nothing_over_nothing() -> None:
    assert [one.value for one in found_measures([set()], [set()])] == [0, 0, 0]
    assert found_by_kind([set()], [set()], kind_of) == {}

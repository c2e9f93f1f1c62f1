"""Intervals and differences: what they say comes true as often as they say."""

import numpy as np
import pytest

from hanlin.evaluate.classes import class_measures
from hanlin.evaluate.figures import Difference, Figure, across, difference, figures
from hanlin.evaluate.measure import mean_of, ratio_of


def of_rights(right_N: np.ndarray):
    return mean_of("accuracy", right_N.astype(np.float64))


def test_intervals_hold_the_truth_nineteen_times_in_twenty() -> None:
    """Macro F1 of three classes, 0.7 of predictions right whatever the class: true value 0.7 of classes of one size."""
    generator = np.random.default_rng(0)
    held = {"accuracy": 0, "macro_f1": 0}
    for seed in range(200):
        truth_N = generator.integers(3, size=150)
        said_N = np.where(generator.random(150) < 0.7, truth_N, (truth_N + generator.integers(1, 3, 150)) % 3)
        measures = class_measures([*map(str, truth_N)], [*map(str, said_N)], ["0", "1", "2"])[:2]
        for figure in figures(measures, resamples=200, seed=seed):
            assert figure.low is not None
            assert figure.high is not None
            held[figure.name] += figure.low <= 0.7 <= figure.high
    assert all(0.91 < count / 200 < 0.985 for count in held.values()), held


def test_chance_is_called_a_difference_once_in_twenty_times() -> None:
    """Two models of the same worth that agree on most records."""
    generator = np.random.default_rng(1)
    trials, called = 400, 0
    for seed in range(trials):
        hard_N = generator.random(120)
        first, second = (of_rights(hard_N + 0.4 * generator.random(120) < 0.9) for _ in range(2))
        called += difference(first, second, resamples=200, seed=seed).is_certain
    assert 0.025 < called / trials < 0.08, called


def test_pairing_sees_what_two_intervals_would_hide() -> None:
    generator = np.random.default_rng(2)
    first_N = generator.random(500) < 0.7
    second_N = first_N & (generator.random(500) > 0.04)
    one, other = figures([of_rights(first_N)])[0], figures([of_rights(second_N)])[0]
    assert one.low is not None
    assert other.high is not None
    assert one.low < other.high
    found = difference(of_rights(first_N), of_rights(second_N))
    assert found.low is not None
    assert found.low > 0
    assert found.is_certain
    assert found.first_is_better


def test_p_is_1_for_the_same_model_never_0_and_the_same_from_both_sides() -> None:
    right_N, wrong_N = np.ones(50), np.zeros(50)
    assert difference(of_rights(right_N), of_rights(right_N)).p == 1
    assert difference(of_rights(right_N), of_rights(wrong_N), resamples=99).p == pytest.approx(1 / 100)
    generator = np.random.default_rng(3)
    first, second = of_rights(generator.random(80) < 0.6), of_rights(generator.random(80) < 0.5)
    there, back = difference(first, second), difference(second, first)
    assert (there.p, there.value) == (back.p, -back.value)
    assert there.low == pytest.approx(-(back.high or 0))


def test_lower_can_be_better() -> None:
    low, high = (mean_of("mae", np.full(30, value), "lower") for value in (1.0, 2.0))
    assert difference(low, high).first_is_better
    assert not difference(high, low).first_is_better


def test_all_measures_see_the_same_resamples() -> None:
    values_N = np.random.default_rng(4).random(40)
    once, doubled = figures([mean_of("a", values_N), mean_of("b", 2 * values_N)])
    assert once.low is not None
    assert doubled.low == pytest.approx(2 * once.low)
    assert figures([mean_of("a", values_N)]) == [once]
    assert figures([mean_of("a", values_N)], seed=1) != [once]


def test_a_single_record_has_no_interval() -> None:
    (figure,) = figures([mean_of("accuracy", np.array([1.0]))])
    assert (figure.value, figure.low, figure.high, figure.n) == (1, None, None, 1)
    alone = difference(mean_of("accuracy", np.array([1.0])), mean_of("accuracy", np.array([0.0])))
    assert (alone.low, alone.p) == (None, 1)
    assert (
        difference(of_rights(np.ones(4)), of_rights(np.zeros(4))).p == 1 / 8
    )  # four coins fall alike as often
    assert figures([]) == []


def test_they_are_written_and_read_as_json() -> None:
    (figure,) = figures([ratio_of("bits_per_byte", [3.0, 4.0], [4, 4], "lower")])
    assert Figure.model_validate_json(figure.model_dump_json()) == figure
    found = difference(mean_of("f1", np.arange(9.0)), mean_of("f1", np.arange(9.0)[::-1]))
    assert Difference.model_validate_json(found.model_dump_json()) == found


def test_a_ratio_is_of_sums_and_of_nothing_is_0() -> None:
    measure = ratio_of("bits", [1.0, 5.0, 9.0], [1, 4, 0])
    assert measure.of(np.array([0, 1, 1])) == pytest.approx(11 / 9)
    assert measure.of(np.array([2, 2])) == 0


def test_several_seeds() -> None:
    assert across([1, 2, 3, 6]).model_dump() == pytest.approx(
        {"mean": 3, "deviation": (14 / 3) ** 0.5, "n": 4}
    )
    assert across([0.5]).deviation is None

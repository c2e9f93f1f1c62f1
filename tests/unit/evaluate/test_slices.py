"""Groups of records and the figures within them."""

import numpy as np
import pytest

from hanlin.base.records import Labelled
from hanlin.evaluate.figures import figures
from hanlin.evaluate.measure import mean_of
from hanlin.evaluate.slices import MOST_GROUPS, length_groups, slice_figures


def records(n: int) -> list[Labelled]:
    """Half in Chinese, the longer half; three classes in turn."""
    return [
        Labelled(text="好" * number if number >= n // 2 else "w" * (number + 1), labels=("abc"[number % 3],))
        for number in range(n)
    ]


def test_each_group_has_the_figure_of_its_own_records() -> None:
    right_N = np.arange(60) % 3 == 0  # all of class a, no other
    found = slice_figures(records(60), mean_of("accuracy", right_N.astype(float)), resamples=50)
    values = {(one.by, one.name): (one.figure.value, one.figure.n) for one in found}
    assert values["answer", "a"] == (1, 20)
    assert values["answer", "b"] == values["answer", "c"] == (0, 20)
    assert values["script", "spaced"] == values["script", "han"] == (pytest.approx(1 / 3), 30)
    assert [one.name for one in found if one.by == "length"] == ["1-15", "16-30", "31-44", "45-59"]


def test_the_interval_is_that_of_the_group_alone() -> None:
    values_N = np.random.default_rng(0).random(60)
    found = slice_figures(records(60), mean_of("score", values_N), resamples=100, seed=3)
    (han,) = [one.figure for one in found if one.name == "han"]
    assert han == figures([mean_of("score", values_N[30:])], resamples=100, seed=3)[0]


def test_columns_that_the_data_has() -> None:
    sources = ["web", None, "book"] * 20
    found = slice_figures(
        records(60), mean_of("m", np.ones(60)), 20, columns={"source": sources, "id": [*map(str, range(60))]}
    )
    assert [(one.name, one.figure.n) for one in found if one.by == "source"] == [("book", 20), ("web", 20)]
    assert len(sources) > MOST_GROUPS
    assert not any(one.by == "id" for one in found)


def test_what_is_all_alike_makes_no_groups() -> None:
    alike = [Labelled(text="same", labels=("a",)) for _ in range(5)]
    assert slice_figures(alike, mean_of("m", np.ones(5)), 20) == []
    assert length_groups([7, 7, 7]) == ["7-7"] * 3


def test_lengths_of_any_kind_are_in_their_group() -> None:
    generator = np.random.default_rng(1)
    for _ in range(20):
        lengths = generator.integers(0, 30, generator.integers(1, 40)).tolist()
        for length, group in zip(lengths, length_groups(lengths), strict=True):
            low, high = map(int, group.split("-"))
            assert low <= length <= high

import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.evaluate.chart import (
    HEIGHT,
    MOST_POINTS,
    WIDTH,
    Bar,
    Series,
    bar_chart,
    line_chart,
    log_ticks,
    nice_ticks,
    runs_of,
    short,
    thin,
)

numbers = st.floats(allow_nan=True, allow_infinity=True, width=32)


@given(low=st.floats(-1e9, 1e9), size=st.floats(0, 1e9), most=st.integers(2, 10))
def test_ticks_enclose_the_values_and_are_few(low: float, size: float, most: int) -> None:
    high = low + size
    ticks = nice_ticks(low, high, most)
    slack = 1e-6 * max(abs(low), abs(high), 1e-9)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= most + 3


@given(low=st.floats(1e-12, 1e12), factor=st.floats(1, 1e12))
def test_logarithmic_ticks_enclose_the_values_and_are_few(low: float, factor: float) -> None:
    ticks = log_ticks(low, low * factor)
    assert ticks[0] <= low * (1 + 1e-9)
    assert ticks[-1] >= low * factor * (1 - 1e-9)
    assert 2 <= len(ticks) <= 9
    assert ticks == sorted(ticks)


def test_ticks_are_round() -> None:
    assert nice_ticks(0, 1, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert nice_ticks(7, 93, 5) == [0, 20, 40, 60, 80, 100]
    assert nice_ticks(1, 3, 6, whole=True) == [1, 2, 3]
    assert log_ticks(0.5, 30) == [0.5, 1, 2, 5, 10, 20, 50]


@given(points=st.lists(st.tuples(st.integers(0, 10**6), numbers), max_size=30), log=st.booleans())
def test_any_values_give_well_formed_pictures_inside_the_frame(
    points: list[tuple[float, float]], log: bool
) -> None:
    chart = line_chart([Series("loss", points)], "step", "loss", log)
    drawable = sum(math.isfinite(y) and (not log or y > 0) for _, y in points)
    assert (chart is None) == (drawable == 0)
    if chart is not None:
        assert (chart.points, chart.missing) == (len(points), len(points) - drawable)
        for circle in ElementTree.fromstring(chart.svg).iter("circle"):
            assert -0.1 <= float(circle.attrib["cx"]) <= WIDTH + 0.1
            assert -0.1 <= float(circle.attrib["cy"]) <= HEIGHT + 0.1


def test_a_gap_is_left_where_a_value_is_not_finite() -> None:
    points = [(0, 1.0), (1, 2.0), (2, math.nan), (3, 4.0), (4, 3.0)]
    assert runs_of(points, log=False) == [[(0, 1.0), (1, 2.0)], [(3, 4.0), (4, 3.0)]]
    chart = line_chart([Series("loss", points)], "step", "loss")
    assert chart is not None
    assert chart.svg.count("<polyline") == 2
    assert chart.missing == 1


def test_a_hundred_thousand_points_are_thinned_without_losing_a_spike() -> None:
    points = [(float(i), 9.0 if i == 51_234 else 1.0 + i % 2) for i in range(100_000)]
    [run] = thin([points], MOST_POINTS)
    assert len(run) <= MOST_POINTS
    assert sum(one.points for one in run) == 100_000
    assert max(one.high for one in run) == 9.0
    assert {one.low for one in run} == {1.0}
    chart = line_chart([Series("loss", points)], "step", "loss")
    assert chart is not None
    assert (chart.points, chart.drawn) == (100_000, len(run))
    assert len(chart.svg) < 100_000


def test_one_point_is_a_visible_dot() -> None:
    chart = line_chart([Series("loss", [(10, 3.2)])], "step", "loss")
    assert chart is not None
    assert chart.svg.count('class="dot"') == 1


def test_names_are_escaped() -> None:
    chart = line_chart([Series("<b>&", [(1, 1), (2, 2)])], "<x>", '"><script>')
    bars = bar_chart([Bar("<script>alert(1)</script>", 1.0, 0.9, 1.1)], "<i>")
    assert chart is not None
    for svg in (chart.svg, bars):
        assert svg is not None
        assert "<script" not in svg
        ElementTree.fromstring(svg)


def test_bars_are_as_long_as_their_values() -> None:
    svg = bar_chart([Bar("a", 1.0, 0.8, 1.2), Bar("b", 2.0), Bar("lost", math.inf)], "bits")
    assert svg is not None
    widths = [float(rect.attrib["width"]) for rect in ElementTree.fromstring(svg).iter("rect")]
    assert len(widths) == 2
    assert widths[1] == pytest.approx(2 * widths[0], abs=0.2)
    assert svg.count("whisker") == 1
    assert bar_chart([], "bits") is None


@pytest.mark.parametrize(
    ("value", "words"), [(0.0, "0"), (0.25, "0.25"), (12_000, "12k"), (3.4e6, "3.4M"), (6e-4, "6e-4")]
)
def test_numbers_on_axes_are_short(value: float, words: str) -> None:
    assert short(value) == words

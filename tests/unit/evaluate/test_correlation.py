"""Correlations whose values are known, and ties."""

import numpy as np
import pytest

from hanlin.evaluate.correlation import pearson, ranks, spearman
from hanlin.evaluate.figures import figures
from hanlin.evaluate.numbers import number_measures


def test_ranks_of_equal_values_are_shared():
    assert ranks([30, 10, 20, 20, 10, 10]).tolist() == [6, 2, 4.5, 4.5, 2, 2]


def test_known_answers():
    """Ranks 1 2 3 4 5 against 2 1 4 3 5: 1 - 6 x 4 / (5 x 24) = 0.8, whatever the values are."""
    assert spearman([1, 10, 100, 1000, 10000], [0.2, 0.1, 0.4, 0.3, 7]) == pytest.approx(0.8)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    # x = 1 2 2 3 has ranks 1 2.5 2.5 4, y has 1 2 3 4: 4.5 / sqrt(4.5 x 5)
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)
    assert pearson([1, 2, 3], [2, 4, 7]) == pytest.approx(5 / (2 * 38 / 3) ** 0.5)


def test_a_constant_series_agrees_with_nothing():
    assert np.isnan(pearson([1, 1, 1], [1, 2, 3]))
    assert np.isnan(spearman([1], [1]))


def test_against_scipy():
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(0)
    for _ in range(20):
        x_N = generator.integers(0, 8, 50)
        y_N = x_N + generator.normal(0, 3, 50).round()
        assert spearman(x_N, y_N) == pytest.approx(stats.spearmanr(x_N, y_N).statistic, abs=1e-12)
        assert pearson(x_N, y_N) == pytest.approx(stats.pearsonr(x_N, y_N).statistic, abs=1e-12)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    """Pairs of correlation 0.6, 60 at a time."""
    generator = np.random.default_rng(1)
    hits = 0
    for seed in range(100):
        x_N = generator.normal(size=60)
        y_N = 0.6 * x_N + 0.8 * generator.normal(size=60)
        interval = figures([number_measures(x_N, y_N)[1]], resamples=200, seed=seed)[0]
        hits += interval.low <= 0.6 <= interval.high
    assert 85 <= hits <= 99

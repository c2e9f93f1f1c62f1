"""Numbers against SciPy and scikit-learn on any choice of records, and the cases without an answer."""

import numpy as np
import pytest

from hanlin.evaluate.numbers import number_measures


def test_equals_scipy_and_scikit_learn_with_ties_and_in_resamples() -> None:
    stats = pytest.importorskip("scipy.stats")
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(0)
    true_N = generator.integers(0, 6, 70).astype(float)
    said_N = np.round(true_N + generator.normal(0, 2, 70))
    measures = {one.name: one for one in number_measures(true_N, said_N)}
    for ids in (np.arange(70), generator.integers(70, size=50)):
        true, said = true_N[ids], said_N[ids]
        expected = {
            "spearman": stats.spearmanr(true, said).statistic,
            "pearson": stats.pearsonr(true, said).statistic,
            "concordance": metrics.cohen_kappa_score(
                true.astype(int), said.astype(int), labels=range(-9, 16), weights="quadratic"
            ),
            "r2": metrics.r2_score(true, said),
            "mse": metrics.mean_squared_error(true, said),
            "rmse": metrics.root_mean_squared_error(true, said),
            "mae": metrics.mean_absolute_error(true, said),
        }
        assert {name: measure.of(ids) for name, measure in measures.items()} == pytest.approx(expected)
    assert [one.name for one in measures.values() if one.better == "lower"] == ["mse", "rmse", "mae"]


def test_a_model_that_always_says_the_same_is_told_so_in_numbers() -> None:
    values = {one.name: one.value for one in number_measures([1, 2, 3], [2, 2, 2])}
    assert values == pytest.approx(
        {
            "spearman": 0,
            "pearson": 0,
            "concordance": 0,
            "r2": 0,
            "mse": 2 / 3,
            "rmse": (2 / 3) ** 0.5,
            "mae": 2 / 3,
        }
    )
    constant = {one.name: one.value for one in number_measures([1, 1], [1, 1])}
    assert [constant[name] for name in ("spearman", "pearson", "concordance", "r2", "mse")] == [0] * 5


def test_concordance_sees_a_shift_that_correlation_does_not() -> None:
    values = {one.name: one.value for one in number_measures([1, 2, 3], [2, 3, 4])}
    assert values["pearson"] == pytest.approx(1)
    # 1 - 1 / (2/3 + 2/3 + 1)
    assert values["concordance"] == pytest.approx(4 / 7)

"""How well two series of numbers agree: Pearson's and Spearman's correlation, with intervals.

Shape suffixes: N pairs, R resamples.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hanlin.evaluate.results import Interval

Floats = NDArray[np.float64]


def pearson(first: ArrayLike, second: ArrayLike) -> float:
    """Covariance over the product of standard deviations, -1 to 1; NaN where a series is constant or shorter than 2.

    Source: Pearson 1896.
    """
    x_N, y_N = (np.asarray(series, np.float64) for series in (first, second))
    assert x_N.shape == y_N.shape
    if len(x_N) < 2 or np.ptp(x_N) == 0 or np.ptp(y_N) == 0:
        return float("nan")
    x_N, y_N = x_N - x_N.mean(), y_N - y_N.mean()
    return float(x_N @ y_N / np.sqrt((x_N @ x_N) * (y_N @ y_N)))


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Pearson's correlation of ranks. Source: Spearman 1904; ties as in `ranks`."""
    return pearson(ranks(first), ranks(second))


def ranks(values: ArrayLike) -> Floats:
    """1 for the least of N values to N for the greatest; equal ones share the mean of their ranks."""
    values_N = np.asarray(values, np.float64)
    _, group_N, sizes = np.unique(values_N, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    means: Floats = (last - (sizes - 1) / 2)[group_N]
    return means


def correlation_interval(
    correlation: Callable[[ArrayLike, ArrayLike], float],
    first: ArrayLike,
    second: ArrayLike,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The 95 % interval by the bootstrap over pairs, percentile method (Efron & Tibshirani 1993, ch. 13)."""
    x_N, y_N = np.asarray(first), np.asarray(second)
    generator = np.random.default_rng(seed)
    drawn_RN = generator.integers(len(x_N), size=(resamples, len(x_N)))
    values_R = [correlation(x_N[drawn_N], y_N[drawn_N]) for drawn_N in drawn_RN]
    low, high = np.nanpercentile(values_R, [2.5, 97.5])
    return Interval(low=float(low), high=float(high))

"""How well two series of numbers agree: Pearson's and Spearman's correlation.

Shape suffixes: N pairs.
"""

import numpy as np
from numpy.typing import ArrayLike

from hanlin.evaluate.measure import Floats, Ids


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
    return ranks_of_groups(np.unique(np.asarray(values, np.float64), return_inverse=True)[1])


def ranks_of_groups(group_N: Ids) -> Floats:
    """The same of values that are given as whole numbers from 0 on, in the same order: without sorting."""
    sizes = np.bincount(group_N)
    last = np.cumsum(sizes)
    means: Floats = (last - (sizes - 1) / 2)[group_N]
    return means

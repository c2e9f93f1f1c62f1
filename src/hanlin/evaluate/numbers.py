"""How near numbers come to those that are true: likeness of texts, grades, values.

A correlation with a series that is always the same is 0, and so is R2 then: it tells nothing.

N records.
"""

from collections.abc import Callable, Sequence

import numpy as np

from hanlin.evaluate.classification import NOTHING
from hanlin.evaluate.correlation import pearson, ranks_of_groups
from hanlin.evaluate.measure import Better, Floats, Ids, Measure, mean_of


def number_measures(truth: Sequence[float], said: Sequence[float]) -> tuple[Measure, ...]:
    """Spearman, Pearson, concordance, R2 (higher is better); mean squared error, its root, mean absolute error."""
    true_N, said_N = np.asarray(truth, np.float64), np.asarray(said, np.float64)
    assert true_N.shape == said_N.shape
    rank_true_N, rank_said_N = (np.unique(one, return_inverse=True)[1] for one in (true_N, said_N))
    squares_N = (true_N - said_N) ** 2

    def measure(name: str, of: Callable[[Floats, Floats], float], better: Better = "higher") -> Measure:
        return Measure(name, lambda ids: of(true_N[ids], said_N[ids]), len(true_N), better)

    def spearman(ids: Ids) -> float:
        return _told(pearson(ranks_of_groups(rank_true_N[ids]), ranks_of_groups(rank_said_N[ids])))

    return (
        Measure("spearman", spearman, len(true_N)),
        measure("pearson", lambda true, one: _told(pearson(true, one))),
        measure("concordance", concordance),
        measure("r2", r_squared),
        mean_of("mse", squares_N, "lower"),
        Measure("rmse", lambda ids: float(np.sqrt(squares_N[ids].mean())), len(true_N), "lower"),
        mean_of("mae", np.abs(true_N - said_N), "lower"),
    )


def concordance(true_N: Floats, said_N: Floats) -> float:
    """1 - mean (x - y)^2 / (var x + var y + (mean x - mean y)^2): agreement, not only correlation, -1 to 1.

    Source: Lin 1989, eq. 2. On grades that are whole numbers it is the quadratic weighted kappa of Cohen 1968.
    """
    by_chance = true_N.var() + said_N.var() + (true_N.mean() - said_N.mean()) ** 2
    return float(1 - ((true_N - said_N) ** 2).mean() / by_chance) if by_chance else NOTHING


def r_squared(true_N: Floats, said_N: Floats) -> float:
    """Share of the variance of the truth that is explained: 1 - sum (x - y)^2 / sum (x - mean x)^2; at most 1."""
    spread = true_N.var()
    return float(1 - ((true_N - said_N) ** 2).mean() / spread) if spread else NOTHING


def _told(correlation: float) -> float:
    return NOTHING if np.isnan(correlation) else correlation

"""Measures with what is known of their chance: intervals, and whether one model is better than another.

The records of a test set are what was drawn at random, so they are drawn again (the bootstrap, Efron 1979). The interval
says how far a figure may move on other records of the same kind; it says nothing of another seed in training: for that
train several times and take `across`.
"""

from collections.abc import Iterator, Sequence
from statistics import fmean, stdev

import numpy as np

from hanlin.base.records import Record
from hanlin.evaluate.measure import Better, Floats, Ids, Measure

CONFIDENCE = [2.5, 97.5]
"""Percentiles between which a 95 % interval lies."""


class Figure(Record):
    """A measure of n records with its 95 % interval, None of a single record."""

    name: str
    value: float
    low: float | None
    high: float | None
    n: int
    better: Better = "higher"


class Difference(Record):
    """A measure of a first model minus that of a second on the same n records, with its 95 % interval.

    p: how often chance alone would make a difference this large, either way, if there were none; never 0.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    p: float
    n: int
    better: Better = "higher"

    @property
    def is_certain(self) -> bool:
        """Whether chance alone would do it less than once in twenty times."""
        return self.p < 0.05

    @property
    def first_is_better(self) -> bool:
        """Whether it speaks for the first model, certain or not."""
        return self.value > 0 if self.better == "higher" else self.value < 0


class Across(Record):
    """A figure over several runs: mean, and standard deviation of the n values (n - 1 below), None of a single one."""

    mean: float
    deviation: float | None
    n: int


def figures(measures: Sequence[Measure], resamples: int = 1000, seed: int = 0) -> list[Figure]:
    """The measures of the same records, with 95 % intervals (percentile method, Efron & Tibshirani 1993, ch. 13).

    All measures are taken of the same resamples.
    """
    if not measures:
        return []
    assert len({measure.n for measure in measures}) == 1, (
        "measures of other records need resamples of their own"
    )
    values_RM = resampled(measures, resamples, seed)
    return [_figure(measure, values_R) for measure, values_R in zip(measures, values_RM.T, strict=True)]


def difference(first: Measure, second: Measure, resamples: int = 1000, seed: int = 0) -> Difference:
    """`first` minus `second`, the same measure of two models on the same records, by the paired bootstrap.

    Each resample takes the same records for both, so that what makes a record hard for both cancels (Koehn 2004). The
    resampled differences, moved to a mean of no difference, are what chance makes: p is the share of them that are at
    least as far from 0 as the real one (Efron & Tibshirani 1993, 16.4), of R + 1, one being the real one (Davison &
    Hinkley 1997, 4.11). n signs that are all alike come by chance 2 times in 2^n: p is never less than that.
    """
    assert first.n == second.n, "both models must be examined on the same records"
    assert (first.name, first.better) == (second.name, second.better)
    value = first.value - second.value
    values_R2 = resampled((first, second), resamples, seed)
    differences_R = values_R2[:, 0] - values_R2[:, 1]
    low, high = _interval(differences_R, first.n)
    as_far = np.abs(differences_R - value) >= abs(value) - 1e-12
    p = max(float((as_far.sum() + 1) / (len(differences_R) + 1)), 2.0 ** (1 - first.n))
    return Difference(name=first.name, value=value, low=low, high=high, p=p, n=first.n, better=first.better)


def across(values: Sequence[float]) -> Across:
    """The mean and the standard deviation of a figure over runs with other seeds."""
    return Across(mean=fmean(values), deviation=stdev(values) if len(values) > 1 else None, n=len(values))


def resampled(measures: Sequence[Measure], resamples: int, seed: int) -> Floats:
    """Each of M measures of R resamples of their n records: (R, M); all measures of the same resamples."""
    n = measures[0].n
    values = [[measure.of(ids) for measure in measures] for ids in _draws(n, resamples, seed)]
    return np.array(values, np.float64).reshape(resamples, len(measures))


def _draws(n: int, resamples: int, seed: int) -> Iterator[Ids]:
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        yield generator.integers(n, size=n)


def _figure(measure: Measure, values_R: Floats) -> Figure:
    low, high = _interval(values_R, measure.n)
    return Figure(
        name=measure.name, value=measure.value, low=low, high=high, n=measure.n, better=measure.better
    )


def _interval(values_R: Floats, n: int) -> tuple[float, float] | tuple[None, None]:
    """Between which values 95 % of the resamples lie; a single record says nothing of others."""
    if n < 2:
        return None, None
    low, high = np.percentile(values_R, CONFIDENCE)
    return float(low), float(high)

"""Intervals by the bootstrap over documents (Efron 1979; percentile method, Efron & Tibshirani 1993, ch. 13).

Tokens of one document are alike, so documents, not tokens, are what was drawn at random and what is drawn
again. The interval says how far the figure may move on other documents of the same kind; it says nothing of
other kinds of text, nor of another seed in training.

Shape suffixes: D documents, R resamples.
"""

import math

import numpy as np

from hanlin.evaluate.figures import CONFIDENCE, resampled
from hanlin.evaluate.measure import Measure
from hanlin.evaluate.perplexity import Floats, Ids, Scores
from hanlin.evaluate.results import Interval


def bits_per_byte_interval(scores: Scores, resamples: int = 1000, seed: int = 0) -> Interval | None:
    """The 95 % interval of `scores.bits_per_byte`; None for a single document: it says nothing of others."""
    return ratio_interval(scores.nll_D / np.log(2), scores.bytes_D, resamples, seed)


def difference_interval(
    first: Scores, second: Scores, resamples: int = 1000, seed: int = 0
) -> Interval | None:
    """The 95 % interval of bits per byte of `first` minus `second`, measured on the same documents.

    Paired: each resample takes the same documents for both, so that what makes a document hard for both
    cancels. An interval wholly below zero says that the first is better.
    """
    assert np.array_equal(first.bytes_D, second.bytes_D), "both models must be examined on the same documents"
    nll_D = first.nll_D - second.nll_D
    return ratio_interval(nll_D / np.log(2), first.bytes_D, resamples, seed)


def ratio_interval(sums_D: Floats, counts_D: Ids, resamples: int, seed: int) -> Interval | None:
    """The 95 % interval of the sum of `sums_D` over that of `counts_D`; None for a single document.

    Resamples of nothing but empty documents have no ratio and are left out.
    """
    if len(sums_D) < 2:
        return None

    def ratio(ids: Ids) -> float:
        size = float(counts_D[ids].sum())
        return float(sums_D[ids].sum()) / size if size else math.nan

    ratios_R1 = resampled([Measure("ratio", ratio, len(sums_D))], resamples, seed)
    low, high = np.nanpercentile(ratios_R1, CONFIDENCE)
    return Interval(low=float(low), high=float(high))

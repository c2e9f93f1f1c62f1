"""Whether probabilities mean what they say: of what is held 80 % probable, 80 % should be true.

N judgements, K classes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from hanlin.base.records import Record
from hanlin.evaluate.classification import share
from hanlin.evaluate.measure import Floats, Ids, Measure

BINS = 15
"""Bins of equal width between 0 and 1 (arXiv 1706.04599, section 4)."""
LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.01, 100.0


class Bin(Record):
    """The judgements whose confidence is in (low, high]: how many, how sure, and how many of them are right."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def reliability(confidence_N: ArrayLike, right_N: ArrayLike, bins: int = BINS) -> list[Bin]:
    """The points of a reliability diagram, least sure first, without empty bins. Source: DeGroot & Fienberg 1983."""
    confidence, right = np.asarray(confidence_N, np.float64), np.asarray(right_N, np.float64)
    bin_N = _bins(confidence, bins)
    sizes = np.bincount(bin_N, minlength=bins)
    means, shares = (share(np.bincount(bin_N, of, bins), sizes) for of in (confidence, right))
    return [
        Bin(
            low=number / bins,
            high=(number + 1) / bins,
            n=int(sizes[number]),
            confidence=float(means[number]),
            accuracy=float(shares[number]),
        )
        for number in np.flatnonzero(sizes)
    ]


def calibration_error(confidence_N: ArrayLike, right_N: ArrayLike, bins: int = BINS) -> Measure:
    """Expected calibration error: the mean over judgements of |accuracy - confidence| of their bin.

    Source: Naeini et al. 2015; arXiv 1706.04599, eq. 3. It is above 0 by chance alone where there are few judgements.
    """
    confidence = np.asarray(confidence_N, np.float64)
    bin_N = _bins(confidence, bins)
    excess_N = confidence - np.asarray(right_N, np.float64)

    def error(ids: Ids) -> float:
        return float(np.abs(np.bincount(bin_N[ids], excess_N[ids])).sum() / len(ids))

    return Measure("ece", error, len(bin_N), "lower")


def fit_temperature(
    logits_NK: ArrayLike, truth_N: Sequence[int] | Ids, deviation: float | None = None
) -> float:
    """The T for which softmax(logits / T) gives the true classes the highest probability; 0.01 to 100.

    Logarithms of probabilities do as well as logits; for one logit of yes give the columns 0 and logit. To be fitted on
    records that the model was not trained on. No prediction changes. Source: arXiv 1706.04599, section 4.2.

    deviation: of a normal prior of mean 0 on log T. Without one, records that are all told rightly, however few, make T as
    small as can be, and records about which the model knows nothing make it as large.
    """
    logits, truth_N = _finite(logits_NK), np.asarray(truth_N)

    def cost(log_t: float) -> float:
        p_N = with_temperature(logits, float(np.exp(log_t)))[np.arange(len(logits)), truth_N]
        prior = 0.0 if deviation is None else log_t**2 / (2 * deviation**2)
        return prior - float(np.log(np.maximum(p_N, 1e-300)).sum())

    low, high = np.log(LEAST_TEMPERATURE), np.log(MOST_TEMPERATURE)
    for _ in range(12):  # each round keeps the two steps of twenty around the best
        steps = np.linspace(low, high, 21)
        best = int(np.argmin([cost(step) for step in steps]))
        low, high = steps[max(0, best - 1)], steps[min(20, best + 1)]
    return float(np.exp((low + high) / 2))


def with_temperature(logits_NK: ArrayLike, temperature: float) -> Floats:
    """softmax(logits / T): (N, K) probabilities."""
    scaled_NK = _finite(logits_NK) / temperature
    powers_NK = np.exp(scaled_NK - scaled_NK.max(axis=1, keepdims=True))
    probabilities: Floats = powers_NK / powers_NK.sum(axis=1, keepdims=True)
    return probabilities


def _bins(confidence_N: Floats, bins: int) -> Ids:
    """The bin of each confidence; bounds belong to the lower bin, 0 to the first."""
    return np.clip(np.ceil(confidence_N * bins).astype(np.int64) - 1, 0, bins - 1)


def _finite(logits_NK: ArrayLike) -> Floats:
    """The logarithm of a probability that was rounded to 0 is -inf; it counts as that of the least float."""
    return np.maximum(np.asarray(logits_NK, np.float64), np.log(np.finfo(np.float64).tiny))

"""How good the probabilities of classes are: whether they rank well, are sharp, and mean what they say.

    ROC-AUC    how probable it is that a record of the class ranks above one that is not; ties count half (Hanley & McNeil 1982)
    PR-AUC     average precision: sum of precision times the step in recall (no interpolation)
    log loss   mean of -ln P(truth)                        Brier   mean of the sum over classes of (P - truth)^2 (Brier 1950)

AUCs of more than two classes are means over classes, one against the rest; a class that no record has, or every one, is
left out, and where none is left ROC-AUC is 0.5 and PR-AUC 0.

N records, K labels, G groups of equal probability.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hanlin.evaluate.calibration import calibration_error
from hanlin.evaluate.measure import Floats, Ids, Measure, counted_once, mean_of

LEAST = 1e-15
"""A probability of 0 for what is true counts as this, in log loss."""


def probability_measures(
    truth: Sequence[str], probabilities_NK: ArrayLike, labels: Sequence[str]
) -> tuple[Measure, ...]:
    """ROC-AUC, PR-AUC, log loss, Brier score and expected calibration error of one class of each record.

    Of two labels the AUCs are those of the second, the positive one. A truth that is no label has probability 0.
    ECE is that of the likeliest class (`calibration.py`).
    """
    p_NK = np.asarray(probabilities_NK, np.float64)
    true_NK = _indicators([[one] for one in truth], labels)
    assert p_NK.shape == true_NK.shape
    said_N = p_NK.argmax(axis=1)
    record_N = np.arange(len(p_NK))
    unknown_N = 1.0 - true_NK.any(axis=1)
    columns = [1] if len(labels) == 2 else range(len(labels))
    return (
        *_ranking(true_NK, p_NK, columns),
        mean_of("log_loss", -np.log(np.maximum((p_NK * true_NK).sum(axis=1), LEAST)), "lower"),
        mean_of("brier", ((p_NK - true_NK) ** 2).sum(axis=1) + unknown_N, "lower"),
        calibration_error(p_NK[record_N, said_N], true_NK[record_N, said_N]),
    )


def label_set_probability_measures(
    truth: Sequence[Collection[str]], probabilities_NK: ArrayLike, labels: Sequence[str]
) -> tuple[Measure, ...]:
    """ROC-AUC, PR-AUC, log loss and Brier score of sets of labels, each probability being of one label alone.

    AUCs are means over labels; log loss and Brier score means over the N x K decisions.
    """
    p_NK = np.asarray(probabilities_NK, np.float64)
    true_NK = _indicators(truth, labels)
    assert p_NK.shape == true_NK.shape
    of_truth_NK = np.where(true_NK, p_NK, 1 - p_NK)
    return (
        *_ranking(true_NK, p_NK, range(len(labels))),
        mean_of("log_loss", -np.log(np.maximum(of_truth_NK, LEAST)).mean(axis=1), "lower"),
        mean_of("brier", ((1 - of_truth_NK) ** 2).mean(axis=1), "lower"),
    )


class _Ranked(NamedTuple):
    """One class: the place of each record's probability among all different ones, 0 the greatest; whether it is true."""

    group_N: Ids
    true_N: NDArray[np.bool_]


def _ranking(true_NK: NDArray[np.bool_], p_NK: Floats, columns: Sequence[int]) -> tuple[Measure, Measure]:
    ranked = [
        _Ranked(np.unique(-p_NK[:, column], return_inverse=True)[1], true_NK[:, column]) for column in columns
    ]

    @counted_once
    def means(ids: Ids) -> tuple[float, float]:
        areas = [found for one in ranked if (found := _areas(one, ids)) is not None]
        roc, pr = np.mean(areas, axis=0) if areas else (0.5, 0.0)
        return float(roc), float(pr)

    return (
        Measure("roc_auc", lambda ids: means(ids)[0], len(p_NK)),
        Measure("pr_auc", lambda ids: means(ids)[1], len(p_NK)),
    )


def _areas(ranked: _Ranked, ids: Ids) -> tuple[float, float] | None:
    """ROC-AUC and average precision over the given records; None where the class has all of them or none."""
    group, true = ranked.group_N[ids], ranked.true_N[ids]
    positives_G = np.bincount(group[true], minlength=group.max() + 1)
    negatives_G = np.bincount(group[~true], minlength=len(positives_G))
    found_G, alarms_G = positives_G.cumsum(), negatives_G.cumsum()
    positives, negatives = found_G[-1], alarms_G[-1]
    if not positives or not negatives:
        return None
    below_G = negatives - alarms_G + negatives_G / 2
    precision_G = found_G / np.maximum(found_G + alarms_G, 1)
    return (
        float(positives_G @ below_G / (positives * negatives)),
        float(positives_G @ precision_G / positives),
    )


def _indicators(truth: Sequence[Collection[str]], labels: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each record has each label: (N, K)."""
    true_NK = np.zeros((len(truth), len(labels)), np.bool_)
    numbers = {label: number for number, label in enumerate(labels)}
    for row_K, one in zip(true_NK, truth, strict=True):
        row_K[[numbers[label] for label in one if label in numbers]] = True
    return true_NK

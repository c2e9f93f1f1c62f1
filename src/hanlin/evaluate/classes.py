"""How well classes are told: one class of each record, or a set of labels.

0 / 0 is `NOTHING`, 0. A mean over classes leaves out those that are neither true nor said of the records looked at.

N records, K labels.
"""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from hanlin.evaluate.classification import (
    Tally,
    accuracy,
    balanced_accuracy,
    macro_f1,
    matthews,
    tally,
    weighted_f1,
)
from hanlin.evaluate.measure import Ids, Measure, mean_of


def class_measures(truth: Sequence[str], said: Sequence[str], labels: Sequence[str]) -> tuple[Measure, ...]:
    """Accuracy, macro and weighted F1, balanced accuracy, Matthews correlation of one class of each record.

    Of two labels also precision, recall and F1 of the second, the positive one. What is no label, as a model that
    writes may say, is a class of its own: always wrong.
    """
    counted = _tally([[one] for one in truth], [[one] for one in said], labels)
    return (
        counted.measure("accuracy", accuracy),
        counted.measure("macro_f1", macro_f1),
        counted.measure("weighted_f1", weighted_f1),
        counted.measure("balanced_accuracy", balanced_accuracy),
        counted.measure("mcc", matthews),
        *(counted.measures_of(1) if len(labels) == 2 else ()),
    )


def label_set_measures(
    truth: Sequence[Collection[str]], said: Sequence[Collection[str]], labels: Sequence[str]
) -> tuple[Measure, ...]:
    """Micro and macro F1, precision and recall of all labels together, exact match and Hamming loss of label sets.

    Exact match: share of records whose whole set is right. Hamming loss: share of the N x K decisions that are wrong
    (Schapire & Singer 1999). Macro F1 is the mean over labels that are true or said.
    """
    counted = _tally(truth, said, labels)
    wrong_N = np.array([len(set(true) ^ set(one)) for true, one in zip(truth, said, strict=True)], np.float64)
    return (
        counted.measure("micro_f1", lambda counts: counts.together.f1),
        counted.measure("macro_f1", macro_f1),
        counted.measure("micro_precision", lambda counts: counts.together.precision),
        counted.measure("micro_recall", lambda counts: counts.together.recall),
        mean_of("exact_match", (wrong_N == 0).astype(np.float64)),
        mean_of("hamming_loss", wrong_N / max(1, len(labels)), "lower"),
    )


def measures_by_class(
    truth: Sequence[str | Collection[str]], said: Sequence[str | Collection[str]], labels: Sequence[str]
) -> dict[str, tuple[Measure, Measure, Measure]]:
    """F1, precision and recall of each label by itself."""
    counted = _tally(list(map(_set, truth)), list(map(_set, said)), labels)
    return {label: counted.measures_of(number) for number, label in enumerate(labels)}


@dataclass(frozen=True)
class Confusion:
    """How often each class (row) was said to be each class (column)."""

    names: tuple[str, ...]
    counts_KK: Ids


def confusion(truth: Sequence[str], said: Sequence[str], labels: Sequence[str]) -> Confusion:
    """The confusion matrix over `labels` and, after them, whatever else is true or was said."""
    numbers = _numbers([*labels, *truth, *said])
    cell_N = np.array(
        [numbers[true] * len(numbers) + numbers[one] for true, one in zip(truth, said, strict=True)], np.int64
    )
    counts = np.bincount(cell_N, minlength=len(numbers) ** 2)
    return Confusion(tuple(numbers), counts.reshape(len(numbers), len(numbers)))


def _tally(truth: Sequence[Collection[str]], said: Sequence[Collection[str]], labels: Sequence[str]) -> Tally:
    numbers: dict[Hashable, int] = dict(_numbers(labels).items())
    for one in (*truth, *said):
        for label in one:
            numbers.setdefault(label, len(numbers))
    return tally(truth, said, numbers.__getitem__, len(numbers))


def _numbers(labels: Sequence[str]) -> dict[str, int]:
    return {label: number for number, label in enumerate(dict.fromkeys(labels))}


def _set(labels: str | Collection[str]) -> Collection[str]:
    return [labels] if isinstance(labels, str) else labels

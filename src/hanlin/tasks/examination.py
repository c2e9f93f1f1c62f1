"""A task examined: predictions of records whose answers are known, and all that can be said of them.

N records.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.base.records import Labelled, Matched, Record, TaskRecord
from hanlin.evaluate.calibration import Bin, reliability
from hanlin.evaluate.classes import measures_by_class
from hanlin.evaluate.figures import CONFIDENCE, figures, resampled
from hanlin.evaluate.measure import Measure
from hanlin.evaluate.slices import slice_figures
from hanlin.evaluate.task_results import (
    ClassFigures,
    Confusion,
    Elsewhere,
    PredictionLine,
    TaskExamination,
    Wrong,
)
from hanlin.evaluate.words import script_of
from hanlin.records.loaded import Loaded
from hanlin.tasks.opened import Opened
from hanlin.tasks.task import AnyRecordTask

WORST = 100
"""Wrong predictions that stand in `results.json`; all are in `predictions.jsonl`."""

MOST_CLASSES = 50
"""Classes that have figures of their own."""


def examine_task(
    task: AnyRecordTask,
    opened: Opened,
    loaded: Loaded[Any],
    *,
    resamples: int = 1000,
    seed: int = 0,
    fingerprint: str = "",
    files: Mapping[str, str] | None = None,
    title: str = "",
) -> tuple[TaskExamination, list[Record]]:
    """Predict the records and examine what is said; with a `title`, progress is shown.

    fingerprint: of the model; files: of each file that records came from. The predictions are those of the records
    whose answer is known (`with_answers`). Raises `DataError` if there are none.
    """
    known = with_answers(loaded)
    start = time.perf_counter()
    predictions = task.predict(opened, known.records, title)
    seconds = time.perf_counter() - start
    examination = examination_of(
        task, known, predictions, opened.name, seconds, resamples=resamples, seed=seed
    )
    found = {
        "fingerprint": fingerprint,
        "files": dict(files or {}),
        "unanswered": len(loaded) - len(known),
    }
    return examination.model_copy(update=found), predictions


def examination_of(
    task: AnyRecordTask,
    known: Loaded[Any],
    predictions: Sequence[Record],
    model: str,
    seconds: float,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> TaskExamination:
    """What predictions of records with answers say, wherever they come from."""
    records = known.records
    measures = task.measures(records, predictions)
    wrong = wrong_records(task, known, predictions)
    return TaskExamination(
        kind=getattr(task, "kind"),  # noqa: B009 - each kind has it, as a literal of its own
        method=task.method,
        task=task.model_dump(mode="json"),
        model=model,
        n=len(records),
        skipped=len(known.skipped),
        cut=sum(getattr(said, "cut", 0) > 0 for said in predictions),
        notes=tuple(known.notes),
        scripts=dict(Counter(script_of(record.inputs) for record in records)),
        lengths=_lengths(records),
        figures=tuple(figures(measures, resamples, seed)),
        confusion=_confusion(records, predictions),
        classes=_classes(records, predictions, resamples, seed),
        reliability=_reliability(records, predictions),
        slices=tuple(slice_figures(records, measures[0], resamples, seed)),
        worst=tuple(wrong[:WORST]),
        wrong=len(wrong),
        seconds=seconds,
    )


def with_answers(loaded: Loaded[Any]) -> Loaded[Any]:
    """The records whose answer is known. Raises `DataError` if there are none."""
    numbers = [number for number, record in enumerate(loaded.records) if has_answer(record)]
    if not numbers:
        raise DataError(
            Text("There is no record with a known answer to examine.", "没有已知答案的记录可供评测。"),
            Text("Name the column of the answer, or give other files as data.test.",
                 "请指明答案所在的列，或把 data.test 设为其他文件。"),
        )  # fmt: skip
    return loaded if len(numbers) == len(loaded) else loaded.chosen(numbers)


def has_answer(record: TaskRecord) -> bool:
    """Whether a prediction of it can be right or wrong."""
    if isinstance(record, Matched):
        return bool(record.found or record.hard_negatives)
    return record.answer is not None


def prediction_lines(
    task: AnyRecordTask, known: Loaded[Any], predictions: Sequence[Record]
) -> list[PredictionLine]:
    """The lines of `predictions.jsonl`."""
    wrongness_N = task.wrongness(known.records, predictions)
    return [
        PredictionLine(
            place=place,
            record=record.model_dump(mode="json", exclude_defaults=True),
            prediction=said.model_dump(mode="json"),
            wrongness=float(wrongness),
        )
        for place, record, said, wrongness in zip(
            known.places, known.records, predictions, wrongness_N, strict=True
        )
    ]


def wrong_records(task: AnyRecordTask, known: Loaded[Any], predictions: Sequence[Record]) -> list[Wrong]:
    """Records whose prediction is not their answer, the worst first."""
    wrongness_N = task.wrongness(known.records, predictions)
    found = list[Wrong]()
    for number in np.argsort(-wrongness_N, kind="stable").tolist():
        record, said = known.records[number], task.said(predictions[number])
        if wrongness_N[number] > 0 and said != record.answer:
            found.append(
                Wrong(
                    place=known.places[number],
                    inputs=record.inputs,
                    answer=record.answer,
                    said=said,
                    wrongness=float(wrongness_N[number]),
                )
            )
    return found


def elsewhere(
    task: AnyRecordTask,
    opened: Opened,
    loaded: Loaded[Any],
    home: Measure,
    files: Mapping[str, str],
    *,
    resamples: int = 1000,
    seed: int = 0,
    title: str = "",
) -> Elsewhere:
    """The task on records from elsewhere, beside its main measure at `home`; raises as `examine_task`."""
    known = with_answers(loaded)
    measures = task.measures(known.records, task.predict(opened, known.records, title))
    apart_R = resampled(measures[:1], resamples, seed)[:, 0] - resampled([home], resamples, seed + 1)[:, 0]
    low, high = np.percentile(apart_R, CONFIDENCE) if min(home.n, len(known)) > 1 else (None, None)
    return Elsewhere(
        files=dict(files),
        n=len(known),
        figures=tuple(figures(measures, resamples, seed)),
        difference=measures[0].value - home.value,
        low=low,
        high=high,
    )


def _lengths(records: Sequence[TaskRecord]) -> tuple[int, int, int]:
    lengths = sorted(sum(map(len, record.inputs)) for record in records)
    return lengths[0], lengths[len(lengths) // 2], lengths[-1]


def _confusion(records: Sequence[TaskRecord], predictions: Sequence[Any]) -> Confusion | None:
    """Of classes: records with one label each."""
    pairs = _one_label_each(records, predictions)
    if not pairs:
        return None
    labels = sorted({label for pair in pairs for label in pair})
    numbers = {label: number for number, label in enumerate(labels)}
    counts_KK = np.zeros((len(labels), len(labels)), np.int64)
    for true, said in pairs:
        counts_KK[numbers[true], numbers[said]] += 1
    return Confusion(labels=tuple(labels), counts=tuple(map(tuple, counts_KK.tolist())))


def _classes(
    records: Sequence[TaskRecord], predictions: Sequence[Any], resamples: int, seed: int
) -> tuple[ClassFigures, ...]:
    """Of records with labels, one or several each: every class that is true of one, the commonest first."""
    truth = [record.labels or () for record in records if isinstance(record, Labelled)]
    if len(truth) < len(records):
        return ()
    often = Counter(label for labels in truth for label in labels)
    labels = [label for label, _ in often.most_common(MOST_CLASSES)]
    measures = measures_by_class(truth, [said.labels for said in predictions], labels)
    return tuple(
        ClassFigures(label=label, f1=f1, precision=precision, recall=recall)
        for label, of_class in measures.items()
        for f1, precision, recall in [figures(of_class, resamples, seed)]
    )


def _reliability(records: Sequence[TaskRecord], predictions: Sequence[Any]) -> tuple[Bin, ...]:
    """Of classes with a probability."""
    pairs = _one_label_each(records, predictions)
    if not pairs or not hasattr(predictions[0], "probability"):
        return ()
    right = [true == said for true, said in pairs]
    return tuple(reliability([said.probability for said in predictions], right))


def _one_label_each(records: Sequence[TaskRecord], predictions: Sequence[Any]) -> list[tuple[str, str]]:
    """True and said class of each record; empty where records are of another kind or have several labels."""
    if not all(isinstance(record, Labelled) and len(record.labels or ()) == 1 for record in records):
        return []
    if not all(len(getattr(said, "labels", ())) == 1 for said in predictions):
        return []
    return [(record.labels[0], said.labels[0]) for record, said in zip(records, predictions, strict=True)]  # type: ignore[attr-defined]

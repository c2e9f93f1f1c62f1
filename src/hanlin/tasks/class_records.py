"""The labels of records, checked against those of a task: each refusal names the record, and the label that was perhaps meant.

N records, K labels.
"""

import difflib
from collections.abc import Sequence

import numpy as np

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.base.records import Labelled, Scored
from hanlin.batches.labels import Places, label_sets
from hanlin.batches.ragged import name_record
from hanlin.evaluate.measure import Ids


def found_labels(records: Sequence[Labelled]) -> tuple[str, ...]:
    """The labels of the records in order: numbers by value, names by the alphabet."""
    found = {label for record in records for label in record.labels or ()}
    try:
        return tuple(sorted(found, key=float))
    except ValueError:
        return tuple(sorted(found))


def label_numbers(
    records: Sequence[Labelled], labels: Sequence[str], multi_label: bool, places: Places = None
) -> Ids:
    """The number of each record's class, (N,), or for sets of labels (N, K) of 0 and 1.

    Raises `DataError` for a record without known labels, with a label that is none of `labels`, and with none or several
    where it must be one.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    for place, record in enumerate(records):
        if record.labels is None:
            raise _unanswered(name_record(place, places))
        if not multi_label and len(record.labels) != 1:
            raise _not_one(name_record(place, places), record.labels)
    unknown = [
        (place, label)
        for place, record in enumerate(records)
        for label in record.labels or ()
        if label not in numbers
    ]
    if unknown:
        (place, label), *others = unknown
        raise _unknown(name_record(place, places), label, labels, len(others))
    if multi_label:
        return label_sets(
            [[numbers[label] for label in one.labels or ()] for one in records], len(labels), places
        )
    classes = [(record.labels or ("",))[0] for record in records]
    return np.array([numbers[label] for label in classes], np.int64)


def check_pairs(records: Sequence[Labelled | Scored], places: Places = None) -> None:
    """Raise `DataError` for records without a second text."""
    alone = [number for number, record in enumerate(records) if record.pair is None]
    if alone:
        some = ", ".join(name_record(number, places) for number in alone[:3])
        raise DataError(
            Text(f"A pair needs two texts; {len(alone)} records have one: {some} ...",
                 f"文本对需要两个文本；有 {len(alone)} 条记录只有一个：{some}……"),
            Text("Name the column of the second text (data.columns.pair), mend the records, or use the kind classify.",
                 "请指明第二个文本所在的列（data.columns.pair），或修正记录，或改用 classify。"),
        )  # fmt: skip


def _unanswered(place: str) -> DataError:
    return DataError(
        Text(f"Record {place} has no label.", f"记录 {place} 没有标签。"),
        Text("Label it, or leave it out.", "请为其标注，或去掉该记录。"),
    )


def _not_one(place: str, labels: Sequence[str]) -> DataError:
    said = ", ".join(labels) or "-"
    return DataError(
        Text(f"Record {place} has {len(labels)} labels ({said}), not one.",
             f"记录 {place} 有 {len(labels)} 个标签（{said}），应恰有一个。"),
        Text("Give it one label, or set task.multi_label=true.", "请只给一个标签，或设 task.multi_label=true。"),
    )  # fmt: skip


def _unknown(place: str, label: str, labels: Sequence[str], others: int) -> DataError:
    near = difflib.get_close_matches(label, labels, n=1, cutoff=0.0)
    meant = f"; the nearest is {near[0]!r}" if near else ""
    meant_zh = f"；最接近的是“{near[0]}”" if near else ""
    more, more_zh = (f" ({others} more like it)", f"（另有 {others} 处）") if others else ("", "")
    known = ", ".join(labels[:12]) + (" ..." if len(labels) > 12 else "")
    return DataError(
        Text(f"Record {place} has the label {label!r}, which is none of the task's{meant}{more}.",
             f"记录 {place} 的标签“{label}”不在该任务的标签之中{meant_zh}{more_zh}。"),
        Text(f"Mend it; the labels are {known}. A label needs a training record, or a place in task.labels.",
             f"请改正；可用的标签为 {known}。标签须在训练记录中出现，或列入 task.labels。"),
    )  # fmt: skip

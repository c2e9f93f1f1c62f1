"""Records for people to label in a spreadsheet or elsewhere, and what they wrote read back and checked."""

import csv
import io
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from hanlin.base.errors import DataError
from hanlin.base.files import write_text
from hanlin.base.language import Text
from hanlin.base.records import TaskRecord
from hanlin.records.config import DataConfig
from hanlin.records.load import unusable
from hanlin.records.loaded import Loaded, Problem, RecordT
from hanlin.records.rows import read_tables

PLACE = "place"
"""The column that says where each record came from: by it answers find back to their records."""

_FORMULA = ("=", "+", "-", "@", "'")


def as_row(record: TaskRecord) -> dict[str, Any]:
    """The fields of a record that hold something; `load_records` reads them back."""
    return record.model_dump(mode="json", exclude_defaults=True)


def write_records(path: Path, loaded: Loaded[RecordT]) -> None:
    """Write records as JSONL, one a line. Raises `DiskError`."""
    lines = (json.dumps(as_row(record), ensure_ascii=False) + "\n" for record in loaded.records)
    write_text(path, "".join(lines))


def write_annotations(path: Path, loaded: Loaded[RecordT]) -> None:
    """Write records with their places and answers: `.csv` for spreadsheets (UTF-8 with a mark), else JSONL.

    A cell that a spreadsheet would take for a formula gets an apostrophe before it, which `read_annotations` takes off;
    lists and objects stand as JSON. Raises `DiskError`.
    """
    rows = [
        {PLACE: place, **_filled(record)} for place, record in zip(loaded.places, loaded.records, strict=True)
    ]
    if path.suffix.lower() != ".csv":
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return
    header = list(dict.fromkeys(key for row in rows for key in row))
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([_cell(row.get(key)) for key in header] for row in rows)
    write_text(path, "\ufeff" + table.getvalue())


def read_annotations(
    path: Path, loaded: Loaded[RecordT], labels: Collection[str] = (), on_error: str = "stop"
) -> Loaded[RecordT]:
    """The records of `loaded` with the answers that the file gives; those whose answer is left empty are left out.

    labels: names that alone may be given to texts; default: any. Raises `DataError`, naming line and mend, for a file
    without places, a place that is not in `loaded` or stands twice, a text that was changed, a label that is none of
    `labels`; with on_error `skip` such rows are left out and listed.
    """
    table = read_tables([path], DataConfig())[0]
    if PLACE not in table.columns:
        raise DataError(
            Text(f"{path} has no column '{PLACE}'.", f"{path} 没有“{PLACE}”列。"),
            Text(
                "Keep that column: by it each answer finds its record.",
                "请保留该列：每个答案靠它找到对应的记录。",
            ),
        )
    schema = type(loaded.records[0])
    numbers = {place: number for number, place in enumerate(loaded.places)}
    problems = list(table.problems)
    answered: dict[int, RecordT] = {}
    for row in table.rows:
        values = {key: _value(key, value) for key, value in row.values.items() if value not in ("", None)}
        place = values.pop(PLACE, None)
        number = numbers.get(str(place))
        if number is None or number in answered:
            problems.append(Problem(row.place, *_wrong_place(place, twice=number is not None)))
            continue
        try:
            record = schema.model_validate(values)
        except ValueError as error:
            problems.append(Problem(row.place, *_unreadable(error)))
            continue
        if record.inputs != loaded.records[number].inputs:
            problems.append(Problem(row.place, *_CHANGED))
        elif wrong := _unknown_labels(record, labels):
            problems.append(Problem(row.place, *_not_a_label(wrong, labels)))
        elif record.answer is not None:
            answered[number] = record
    if problems and on_error == "stop":
        raise unusable(problems)
    order = sorted(answered)
    chosen = loaded.chosen(order)
    left = Text(
        f"{len(loaded) - len(order):,} of {len(loaded):,} records have no answer in {path}.",
        f"{path} 中有 {len(loaded) - len(order):,} 条（共 {len(loaded):,} 条）没有答案。",
    )
    return Loaded(
        [answered[number] for number in order], chosen.places, chosen.rows, problems, loaded.columns, [left]
    )


def _filled(record: TaskRecord) -> dict[str, Any]:
    """All fields of the record that a person fills in, empty ones too."""
    values = record.model_dump(mode="json")
    return {
        key: value
        for key, value in values.items()
        if value not in ([], {}) or key not in ("choices", "control")
    }


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return f"'{value}" if value.startswith(_FORMULA) else value


_TEXTS = frozenset((PLACE, "text", "pair", "question", "context", "source", "query"))


def _value(key: str, value: Any) -> Any:
    """A cell of CSV as the value that was written; people may write labels without JSON's brackets, with `|` between."""
    if not isinstance(value, str):
        return value
    if value.startswith("'") and value[1:2] in _FORMULA:
        value = value[1:]
    if key in _TEXTS:
        return value
    try:
        read = json.loads(value)
    except ValueError:
        read = value
    if key == "labels" and not isinstance(read, list):
        return [piece.strip() for piece in value.split("|") if piece.strip()]
    return read


_CHANGED = (
    Text("the text is not the one that was given out", "文本与发出时不同"),
    Text(
        "Change answers only; read corrected texts as new records.",
        "只应填写答案；改过的文本请作为新记录读入。",
    ),
)


def _wrong_place(place: Any, twice: bool) -> tuple[Text, Text]:
    if twice:
        return (
            Text(f"the place {place!r} stands twice", f"位置 {place!r} 出现了两次"),
            Text("Keep one row a record.", "每条记录只留一行。"),
        )
    return (
        Text(f"no record came from {place!r}", f"没有来自 {place!r} 的记录"),
        Text("Put the place back as it was given out.", "请恢复发出时的位置。"),
    )


def _unreadable(error: ValueError) -> tuple[Text, Text]:
    reason = " ".join(str(error).split())[:200]
    return (
        Text(f"not a record of this kind: {reason}", f"不是这类记录：{reason}"),
        Text("Write the answer in the form of the other rows.", "请按其他行的形式填写答案。"),
    )


def _unknown_labels(record: TaskRecord, labels: Collection[str]) -> list[str]:
    return [one for one in getattr(record, "labels", None) or () if labels and one not in labels]


def _not_a_label(wrong: Sequence[str], labels: Collection[str]) -> tuple[Text, Text]:
    listed = ", ".join(sorted(labels)[:20])
    return (
        Text(f"{wrong[0]!r} is not one of the labels", f"{wrong[0]!r} 不在标签之中"),
        Text(f"Write one of: {listed}.", f"请写其中之一：{listed}。"),
    )

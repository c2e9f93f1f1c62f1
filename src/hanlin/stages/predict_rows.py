"""Rows on their way through a model: each with its record, and with what is said of it or why nothing can be."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hanlin.base.errors import DataError, HanlinError
from hanlin.base.language import Text
from hanlin.base.records import TaskRecord
from hanlin.records.kinds import FormatName
from hanlin.records.loaded import Problem, Row
from hanlin.records.rows import files_in
from hanlin.records.stream import open_stream, stream_lines, stream_records
from hanlin.tasks.model import TaskModel

OnError = Literal["stop", "skip", "null"]
"""At a row that cannot be predicted: stop and name it; leave it out; keep it, with nothing predicted."""

Pair = tuple[Row | None, TaskRecord | Problem]


@dataclass(frozen=True)
class Asked:
    """What to predict, and how. columns: of fields of the record, the column that holds them; default: guessed.

    spooled: standard input as a file, in place of others, so that it can be read again.
    """

    files: tuple[Path, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    format: FormatName | None = None
    probabilities: bool = False
    on_error: OnError = "stop"
    spooled: Path | None = None


def pairs_of(
    model: TaskModel, asked: Asked, notes: list[Text], lines: Iterable[str] | None = None
) -> Iterator[Pair]:
    """Each row with its record, or with why it has none, from the files or the lines; see `stream_records` for `notes`."""
    if asked.spooled is not None:
        lines = _lines(asked.spooled)
    streams = (
        (open_stream(path, asked.format) for given in asked.files for path in files_in(given))
        if lines is None
        else iter([stream_lines(lines, "stdin")])
    )
    for stream in streams:
        for row, record in stream_records(model.task.record, stream, asked.columns, notes):
            yield row, _fit(model, row, record)


def _lines(path: Path) -> Iterator[str]:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        yield from file


def _fit(model: TaskModel, row: Row | None, record: TaskRecord | Problem) -> TaskRecord | Problem:
    objection = model.objection(record) if isinstance(record, TaskRecord) else None
    if objection is None or row is None:
        return record
    return Problem(row.place, Text(f"it {objection.en}", objection.zh), Text("Fill it in.", "请补上。"))


def said_of(model: TaskModel, part: list[Pair], on_error: OnError) -> list[dict[str, Any] | None]:
    """The fields of each row's prediction; None of one that cannot be predicted, which then is a problem in `part`."""
    numbers = [number for number, (_, record) in enumerate(part) if isinstance(record, TaskRecord)]
    said: list[dict[str, Any] | None] = [None] * len(part)
    for number, one in _predicted(model, part, numbers):
        if isinstance(one, Problem):
            part[number] = (part[number][0], one)
        else:
            said[number] = one
    problem = next((record for _, record in part if isinstance(record, Problem)), None)
    if problem is not None and on_error == "stop":
        raise DataError(
            Text(f"{problem.place}: {problem.reason.en}. {problem.mend.en}", f"{problem.place}：{problem.reason.zh}。{problem.mend.zh}"),
            Text("Mend that row, or leave such rows out (--on-error skip) or keep them without prediction (--on-error null).",
                 "请修改该行；或略去这类行（--on-error skip），或保留而不预测（--on-error null）。"),
        )  # fmt: skip
    return said


def _predicted(
    model: TaskModel, part: Sequence[Pair], numbers: Sequence[int]
) -> Iterator[tuple[int, dict[str, Any] | Problem]]:
    """What is said of these rows of a part; where the model refuses some, the halves are tried alone."""
    if not numbers:
        return
    try:
        found = model.predict(
            [record for number in numbers if isinstance(record := part[number][1], TaskRecord)]
        )
    except HanlinError as error:
        if len(numbers) > 1:
            half = len(numbers) // 2
            yield from _predicted(model, part, numbers[:half])
            yield from _predicted(model, part, numbers[half:])
            return
        row = part[numbers[0]][0]
        assert row is not None
        reason = Text(error.problem.en.rstrip("."), error.problem.zh.rstrip("。"))
        yield numbers[0], Problem(row.place, reason, error.remedy)
        return
    yield from zip(numbers, (one.model_dump(mode="json") for one in found), strict=True)

"""Rows of files of any size, one after another: only the first ones are held, to see what the columns are."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from hanlin.base.errors import DataError, MissingExtra
from hanlin.base.language import Text
from hanlin.base.records import TaskRecord
from hanlin.corpus.intake import path_text
from hanlin.records.columns import Columns
from hanlin.records.config import DataConfig
from hanlin.records.delimited import csv_cells, distinct_names, is_header, no_header, usual_width, wrong_width
from hanlin.records.kinds import FormatName
from hanlin.records.load import READERS, named_fields, taken_columns
from hanlin.records.loaded import Problem, Row
from hanlin.records.objects import no_object, not_json
from hanlin.records.rows import format_of, read_tables
from hanlin.records.table import Table, Troubles, columns_of, lines_of
from hanlin.records.values import BadRow

HEAD = 1000
"""Rows by which columns are understood."""

Item = Row | Problem
"""A row, or what is wrong with it."""


@dataclass(frozen=True)
class Stream:
    """The rows of a file to come. columns: their names, where the file says them; numbered: they are numbers."""

    where: str
    items: Iterator[Item]
    columns: list[str] | None = None
    numbered: bool = False
    notes: tuple[Text, ...] = ()


def open_stream(path: Path, format: FormatName | None = None) -> Stream:
    """The rows of a file. JSON that is one value, CoNLL and lines of a form of their own are read whole.

    Raises `DataError` for a file that cannot be read.
    """
    troubles, kind = Troubles(), format or format_of(path)
    match kind:
        case "jsonl":
            return Stream(
                path_text(path), _objects(path_text(path), lines_of(path, troubles), troubles.problems)
            )
        case "csv" | "tsv":
            return _delimited(path, kind, troubles)
        case "parquet":
            return _parquet(path)
    (table,) = read_tables([path], DataConfig(format=kind))
    return Stream(
        table.where, iter([*table.problems, *table.rows]), table.columns, table.numbered, tuple(table.notes)
    )


def stream_lines(lines: Iterable[str], where: str) -> Stream:
    """One JSON object a line if the first one is, else one text a line."""
    given = (line.rstrip("\n") for line in lines)
    before = list(_until_filled(given))
    lines = chain(before, given)
    if before and before[-1].lstrip().startswith("{"):
        return Stream(where, _objects(where, lines, []))
    return Stream(
        where, (Row(f"{where}:{number}", {"text": line}) for number, line in enumerate(lines, 1)), ["text"]
    )


def stream_records(
    schema: type[TaskRecord], stream: Stream, columns: Mapping[str, str], notes: list[Text]
) -> Iterator[tuple[Row | None, TaskRecord | Problem]]:
    """Each row with its record, whose answer may be unknown, or with what is wrong with it.

    columns: of fields of the record, the column that holds them, where it is not to be guessed. How columns were
    understood is added to `notes`. Raises `DataError` for a column that is not there.
    """
    head = list(_until_rows(stream.items, HEAD))
    rows = [item for item in head if isinstance(item, Row)]
    names = stream.columns if stream.columns is not None else columns_of(rows)
    table = Table(stream.where, rows, names, numbered=stream.numbered)
    reader, fields = READERS[schema]
    taken = Columns(names, named_fields(schema, columns), stream.where)
    if not rows:
        yield from ((None, item) for item in head if isinstance(item, Problem))
        return
    taken.check_fields(fields)
    read = reader(table, taken, False)
    notes.extend([*taken_columns(table, taken), *stream.notes, *table.notes])
    for item in chain(head, stream.items):
        if isinstance(item, Problem):
            yield None, item
            continue
        try:
            yield item, read(item) or _nothing(item)
        except BadRow as bad:
            yield item, Problem(item.place, bad.reason, bad.mend)


def _nothing(row: Row) -> Problem:
    return Problem(row.place, Text("it holds no record", "其中没有记录"), Text("Leave it out.", "请略去它。"))


def _until_filled(lines: Iterable[str]) -> Iterator[str]:
    """Lines up to the first that is not blank."""
    for line in lines:
        yield line
        if line.strip():
            return


def _until_rows(items: Iterable[Item], most: int) -> Iterator[Item]:
    """Items up to the last of so many rows."""
    for item in items:
        yield item
        most -= isinstance(item, Row)
        if not most:
            return


def _objects(where: str, lines: Iterable[str], problems: list[Problem]) -> Iterator[Item]:
    for number, line in enumerate(lines, 1):
        yield from _drained(problems)
        if not line.strip():
            continue
        place = f"{where}:{number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield not_json(place, error)
            continue
        yield Row(place, value) if isinstance(value, dict) else no_object(place)
    yield from _drained(problems)


def _delimited(path: Path, kind: FormatName, troubles: Troubles) -> Stream:
    where, lines = path_text(path), lines_of(path, troubles)
    cells: Iterator[tuple[int, list[str]]]
    if kind == "tsv":
        cells = ((number, line.split("\t")) for number, line in enumerate(lines, 1) if line.strip())
    else:
        first = next(lines, "")
        joined = (line + "\n" for line in chain([first], lines))
        cells = csv_cells(path, joined, max(",;\t", key=first.count), troubles.problems)
    head = list(islice(cells, HEAD))
    if not head:
        return Stream(where, _drained(troubles.problems), [])
    has_header = is_header([row for _, row in head])
    names = head[0][1] if has_header else [str(number) for number in range(1, usual_width(head) + 1)]
    names = distinct_names(names)
    notes = () if has_header else (no_header(where, names, head[0][1]),)
    rows = _cells(where, chain(head[has_header:], cells), names, troubles.problems)
    return Stream(where, rows, names, not has_header, notes)


def _cells(
    where: str, cells: Iterable[tuple[int, list[str]]], names: list[str], problems: list[Problem]
) -> Iterator[Item]:
    for line, row in cells:
        yield from _drained(problems)
        place = f"{where}:{line}"
        if len(row) == len(names):
            yield Row(place, dict(zip(names, row, strict=True)))
        else:
            yield wrong_width(place, len(row), len(names))
    yield from _drained(problems)


def _parquet(path: Path) -> Stream:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra(Text("Reading Parquet", "读取 Parquet"), "data") from error
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            Text(f"{path_text(path)} is not a readable Parquet file ({error}).", f"{path_text(path)} 不是可读的 Parquet 文件（{error}）。"),
            Text("Write or download the file again.", "请重新生成或下载该文件。"),
        ) from error  # fmt: skip
    values = (row for batch in file.iter_batches(HEAD) for row in batch.to_pylist())
    rows = (Row(f"{path_text(path)}#{number}", row) for number, row in enumerate(values, 1))
    return Stream(path_text(path), rows, list(file.schema_arrow.names))


def _drained(problems: list[Problem]) -> Iterator[Problem]:
    """Problems that a reader has gathered so far, which it then forgets."""
    while problems:
        yield problems.pop(0)

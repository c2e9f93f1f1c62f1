"""Predictions beside the columns that the rows had, as JSONL, CSV, TSV or Parquet."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from hanlin.base.errors import DataError, MissingExtra, RequestError
from hanlin.base.files import atomic_file
from hanlin.base.language import Text
from hanlin.tasks.task import AnyRecordTask

PREFIX = "predicted_"
"""Stands before the names of new columns, so that the answers of the file stay beside them."""

DIGITS = 6
"""Of probabilities and other numbers: more of them hang on which rows shared a batch."""

_ROWS_AT_ONCE = 1024

Rows = Iterable[dict[str, Any]]


def check_output(output: Path | None) -> None:
    """Raise `RequestError` unless the ending of `output` says what to write; before any work is done."""
    if output is not None and output.suffix.lower() not in WRITERS:
        raise RequestError(
            Text(f"{output}: the ending does not say what to write.", f"{output}：扩展名未指明输出格式。"),
            Text(f"Choose one of {', '.join(WRITERS)}.", f"请选用 {'、'.join(WRITERS)} 之一。"),
        )


def new_columns(task: AnyRecordTask, said: dict[str, Any], probabilities: bool) -> dict[str, Any]:
    """The columns of a prediction, from its fields.

    Of one label, not several, the column is `predicted_label`; `probabilities` are one column a label, named
    `predicted_probability_LABEL`, or a list. What was cut is counted, and no column.
    """
    if "ranked" in said:  # of a search: how well the row's own texts fit, or the vector where it has none
        said = {name: said.get(name) for name in (("scores",) if said["scores"] else ("vector",))}
    columns = dict[str, Any]()
    for name, value in said.items():
        if name == "cut" or (name == "probabilities" and not probabilities):
            continue
        if name == "probabilities" and isinstance(value, dict):
            columns |= {f"{PREFIX}probability_{label}": _short(p) for label, p in value.items()}
        elif name == "labels" and not getattr(task, "multi_label", False):
            columns[f"{PREFIX}label"] = value[0] if value else None
        else:
            columns[f"{PREFIX}{name}"] = _short(value)
    return columns


def json_line(row: Any) -> str:
    """A row, or a cell, as JSON; dates and the like, from Parquet, as text."""
    return json.dumps(row, ensure_ascii=False, default=str)


def write_rows(path: Path, rows: Rows, names: Sequence[str]) -> None:
    """Write rows, which have the columns `names` or some of them, in the format of the file's ending, whole or not at all."""
    WRITERS[path.suffix.lower()](path, rows, names)


def _write_jsonl(path: Path, rows: Rows, names: Sequence[str]) -> None:
    with atomic_file(path) as file:
        file.writelines(f"{json_line(row)}\n" for row in rows)


def _write_csv(path: Path, rows: Rows, names: Sequence[str]) -> None:
    with atomic_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_cell(row.get(name)) for name in names] for row in rows)


def _write_tsv(path: Path, rows: Rows, names: Sequence[str]) -> None:
    """A tab or a line's end inside a cell would end it: they become blanks."""
    with atomic_file(path) as file:
        for cells in chain([names], ([_cell(row.get(name)) for name in names] for row in rows)):
            file.write("\t".join(" ".join(cell.replace("\t", " ").splitlines()) for cell in cells) + "\n")


def _write_parquet(path: Path, rows: Rows, names: Sequence[str]) -> None:
    """The types of columns are those of the first rows; what is empty in all of these is text."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra(Text("Writing Parquet", "写出 Parquet"), "data") from error
    parts = _parts(rows)
    first = next(parts, [])
    found = pa.Table.from_pylist([{name: row.get(name) for name in names} for row in first]).schema
    schema = pa.schema(
        [(one.name, pa.string() if pa.types.is_null(one.type) else one.type) for one in found]
        or [(name, pa.string()) for name in names]
    )
    with atomic_file(path, "wb") as file, pq.ParquetWriter(file, schema) as writer:
        for part in chain([first], parts):
            try:
                writer.write_table(pa.Table.from_pylist(part, schema))
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise DataError(
                    Text(
                        f"A column holds values of several types: {error}.",
                        f"某一列含有多种类型的值：{error}。",
                    ),
                    Text("Write JSONL: --output NAME.jsonl", "请写出 JSONL：--output NAME.jsonl"),
                ) from error


def _parts(rows: Rows) -> Iterator[list[dict[str, Any]]]:
    rows = iter(rows)
    while part := list(islice(rows, _ROWS_AT_ONCE)):
        yield part


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return json_line(value) if isinstance(value, dict | list | tuple | bool) else str(value)


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    return [_short(one) for one in value] if isinstance(value, list) else value


WRITERS: dict[str, Callable[[Path, Rows, Sequence[str]], None]] = {
    ".jsonl": _write_jsonl,
    ".csv": _write_csv,
    ".tsv": _write_tsv,
    ".parquet": _write_parquet,
}

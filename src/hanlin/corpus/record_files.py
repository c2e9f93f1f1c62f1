"""Readers of files that hold many records: JSONL, JSON, CSV, TSV and Parquet; each yields the text field."""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hanlin.base.errors import DataError, MissingExtra
from hanlin.base.language import Text
from hanlin.corpus.config import FilesSource
from hanlin.corpus.intake import Intake
from hanlin.corpus.stream import text_blocks, text_lines, whole_text

LONGEST_JSON = 256 << 20
TEXT_FIELDS = (
    "text", "content", "body", "article", "document", "passage", "paragraphs", "story", "review", "sentence",
    "text_a", "正文", "内容", "文本", "文章", "评论", "review_body", "raw_content", "markdown",
)  # fmt: skip
_NO_OBJECT = Text("not a JSON object", "不是 JSON 对象")


def read_jsonl(path: Path, source: FilesSource, intake: Intake) -> Iterator[str]:
    """Yield the text of each line's object; blank lines are passed over."""
    field: str | None = None
    for number, line in enumerate(text_lines(path, source.encoding, intake), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            _malformed(path, number, intake, _no_json(error))
            continue
        if not isinstance(record, dict):
            _malformed(path, number, intake, _NO_OBJECT)
            continue
        field = field or _choose_field(path, source, record.keys(), intake)
        yield from _text_of(path, number, record.get(field), field, record.keys(), intake)


def read_json(path: Path, source: FilesSource, intake: Intake) -> Iterator[str]:
    """Yield the text of each object of a JSON array; a file of one object a line is read as JSONL."""
    start = next(text_blocks(path, source.encoding, Intake(intake.name, "skip")), "")
    if start.lstrip()[:1] == "{":
        yield from read_jsonl(path, source, intake)
        return
    try:
        records = json.loads(whole_text(path, source.encoding, intake, LONGEST_JSON) or "[]")
    except (ValueError, RecursionError) as error:
        _malformed(path, getattr(error, "lineno", 1), intake, _no_json(error))
        return
    if not isinstance(records, list):
        _malformed(
            path,
            1,
            intake,
            Text("not an array of objects, nor one object a line", "既不是对象的数组，也不是每行一个对象"),
        )
        return
    field: str | None = None
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            _malformed(path, number, intake, _NO_OBJECT)
            continue
        field = field or _choose_field(path, source, record.keys(), intake)
        yield from _text_of(path, number, record.get(field), field, record.keys(), intake)


def read_csv(path: Path, source: FilesSource, intake: Intake) -> Iterator[str]:
    """Yield the text column of a CSV file with a header; the delimiter is `,`, `;` or a tab, as in the header."""
    lines = text_lines(path, source.encoding, intake)
    header = next(lines, "")
    delimiter = max(",;\t", key=header.count)
    yield from _read_table(
        path, _with_newlines([header], lines), source, intake, delimiter, csv.QUOTE_MINIMAL
    )


def read_tsv(path: Path, source: FilesSource, intake: Intake) -> Iterator[str]:
    """Yield the text column of a TSV file with a header; quotation marks are text, as IANA's definition has it."""
    lines = text_lines(path, source.encoding, intake)
    yield from _read_table(path, _with_newlines([], lines), source, intake, "\t", csv.QUOTE_NONE)


def _with_newlines(first: list[str], rest: Iterator[str]) -> Iterator[str]:
    for line in first:
        yield line + "\n"
    for line in rest:
        yield line + "\n"


def _read_table(
    path: Path, lines: Iterable[str], source: FilesSource, intake: Intake, delimiter: str, quoting: int
) -> Iterator[str]:
    csv.field_size_limit(2**31 - 1)  # the csv module knows no other way; its default stops at 128 KiB
    rows = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
    header: list[str] | None = None
    column = 0
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            _malformed(path, rows.line_num, intake, Text(str(error), f"表格有误（{error}）"))
            continue
        if header is None:
            header = row
            column = header.index(_choose_field(path, source, header, intake))
        elif len(row) != len(header):
            if row:
                _malformed(
                    path,
                    rows.line_num,
                    intake,
                    Text(
                        f"{len(row)} columns where the header has {len(header)}",
                        f"有 {len(row)} 列，而表头有 {len(header)} 列",
                    ),
                )
        else:
            yield row[column]


def read_parquet(path: Path, source: FilesSource, intake: Intake) -> Iterator[str]:
    """Yield the text column of a Parquet file, a few hundred rows at a time."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra(Text("Reading Parquet", "读取 Parquet"), "data") from error
    try:
        file = pq.ParquetFile(path)
        field = _choose_field(path, source, file.schema_arrow.names, intake)
        number = 0
        for batch in file.iter_batches(batch_size=256, columns=[field]):
            for value in batch.column(0).to_pylist():
                number += 1
                yield from _text_of(path, number, value, field, [field], intake)
    except (pa.ArrowException, OSError) as error:
        intake.trouble(
            path,
            None,
            "damaged parquet",
            Text(f"not a readable Parquet file ({error}).", f"不是可读的 Parquet 文件（{error}）。"),
            Text("Write or download the file again.", "请重新生成或下载该文件。"),
        )


def _choose_field(path: Path, source: FilesSource, names: Iterable[str], intake: Intake) -> str:
    """The configured field, or the first likely one; raise `DataError` listing what there is."""
    names = list(names)
    lowered = {name.strip().lower(): name for name in reversed(names)}
    wanted = [source.text] if source.text else list(TEXT_FIELDS)
    for name in wanted:
        if name in names or name.lower() in lowered:
            field = name if name in names else lowered[name.lower()]
            intake.text_fields[field] += 1
            return field
    listed = ", ".join(names[:20])
    missing_en = f"has no field '{source.text}'" if source.text else "has no field that is known to hold text"
    missing_zh = f"没有字段“{source.text}”" if source.text else "没有公认的正文字段"
    raise DataError(
        Text(f"{path} {missing_en}; it has: {listed}.", f"{path} {missing_zh}；现有字段：{listed}。"),
        Text(
            "Name the field that holds the text: text: <field>.", "请用 text: <字段名> 指明正文所在的字段。"
        ),
    )


def _text_of(
    path: Path, number: int, value: Any, field: str, names: Iterable[str], intake: Intake
) -> Iterator[str]:
    """Yield a string as it is and a list of strings joined by newlines; anything else is malformed."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        yield "\n".join(value)
    elif value is None:
        listed = ", ".join(list(names)[:20])
        _malformed(
            path, number, intake, Text(f"no '{field}' among {listed}", f"没有“{field}”，现有字段：{listed}")
        )
    else:
        kind = type(value).__name__
        _malformed(
            path, number, intake, Text(f"'{field}' is a {kind}, not text", f"“{field}”是 {kind}，不是文本")
        )


def _no_json(error: ValueError | RecursionError) -> Text:
    """Why a line or file is no JSON, with the column; the line stands before it."""
    if isinstance(error, json.JSONDecodeError):
        return Text(
            f"not valid JSON: {error.msg}, column {error.colno}",
            f"不是有效的 JSON（{error.msg}，第 {error.colno} 列）",
        )
    return Text(f"not valid JSON: {error}", f"不是有效的 JSON（{error}）")


def _malformed(path: Path, number: int, intake: Intake, reason: Text) -> None:
    intake.trouble(
        path,
        number,
        "malformed record",
        Text(f"{reason.en}.", f"{reason.zh}。"),
        Text("Mend that record.", "请修改该条记录。"),
    )

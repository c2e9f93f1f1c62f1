"""Texts that a person gives a verb: one a line of a file, or a field of each record of JSONL."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.corpus.encoding import SAMPLE_BYTES, detect_encoding
from hanlin.corpus.record_files import TEXT_FIELDS
from hanlin.corpus.stream import open_bytes


def gather_texts(
    files: Sequence[Path], given: Sequence[str], field: str | None, otherwise: IO[str]
) -> list[str]:
    """The texts that were given, then those of the files; if there are neither, the lines of `otherwise`.

    Raises `DataError` as `read_texts`, also where there is no text at all.
    """
    texts = [*given, *(text for path in files for text in read_texts(path, field))]
    if not files and not given:
        texts = [line.rstrip("\n") for line in otherwise]
    if not texts:
        raise DataError(
            Text("There is no text.", "没有文本。"),
            Text(
                "Give files, --text, or lines of standard input.",
                "请给出文件、--text，或由标准输入给出各行。",
            ),
        )
    return texts


def read_texts(path: Path, field: str | None = None) -> list[str]:
    """The texts of a file, in any encoding that is recognised; .jsonl and .ndjson hold records.

    field: the one of records that holds the text; by default the first with a usual name.
    Raises `DataError`, naming file and line, for a file that is missing, empty or no text, an empty line, and a
    record that is malformed or lacks the field.
    """
    lines = read_lines(path)
    texts = list(_fields(path, lines, field) if holds_records(path) else lines)
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise _at(path, number, Text("the text is empty", "文本是空的"))
    return texts


def holds_records(path: Path) -> bool:
    """Whether the lines of a file are JSON."""
    return any(suffix in (".jsonl", ".ndjson") for suffix in path.suffixes)


def read_lines(path: Path) -> list[str]:
    """The lines of a file in any encoding that is recognised. Raises `DataError` for one that is missing, empty or no
    text."""
    lines = _lines(path)
    if not lines:
        raise DataError(
            Text(f"{path} is empty.", f"{path} 是空文件。"),
            Text("Give a file with texts.", "请给出含有文本的文件。"),
        )
    return lines


def read_record(path: Path | str, number: int, line: str) -> dict[str, Any]:
    """The record in a line of JSONL. Raises `DataError`, naming file and line, for what is none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _at(path, number, Text(f"not valid JSON: {error}", f"不是有效的 JSON：{error}")) from error
    if not isinstance(record, dict):
        raise _at(path, number, Text("not a record with fields", "不是含有字段的记录"))
    return record


def text_field(path: Path | str, number: int, record: dict[str, Any], field: str) -> str:
    """The text in a field of a record. Raises `DataError`, naming file and line, where there is none."""
    value = record.get(field)
    if not isinstance(value, str):
        there = f"{value!r:.40}" if field in record else ", ".join(list(record)[:20])
        raise _at(
            path,
            number,
            Text(f"no text in '{field}' (there is: {there})", f"“{field}”中没有文本（现有：{there}）"),
        )
    return value


def _lines(path: Path) -> list[str]:
    with open_bytes(path) as file:
        try:
            content = file.read()
        except (OSError, EOFError) as error:
            raise DataError(
                Text(f"Cannot read {path}: {error}", f"无法读取 {path}：{error}"),
                Text("Check the path.", "请检查路径。"),
            ) from error
    codec = detect_encoding(content[:SAMPLE_BYTES], len(content) <= SAMPLE_BYTES)
    try:
        text = content.decode(codec or "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            Text(
                f"{path} is not text in any known encoding: {error}",
                f"{path} 不是文本，或编码无法识别：{error}",
            ),
            Text("Write it as UTF-8.", "请将其存为 UTF-8。"),
        ) from error
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _fields(path: Path, lines: Iterable[str], field: str | None) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        record = read_record(path, number, line)
        if field is None:
            field = next((name for name in TEXT_FIELDS if name in record), "text")
        yield text_field(path, number, record, field)


def _at(path: Path | str, number: int, reason: Text) -> DataError:
    return DataError(
        Text(f"{path}:{number}: {reason.en}.", f"{path}:{number}：{reason.zh}。"),
        Text("Mend or remove that line; --field names the field of JSONL that holds the text.",
             "请修改或删除该行；--field 可指明 JSONL 中正文所在的字段。"),
    )  # fmt: skip

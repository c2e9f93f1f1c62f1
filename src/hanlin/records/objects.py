"""Files of JSON: one object a line, an array of objects, an object of columns, SQuAD."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hanlin.base.language import Text
from hanlin.corpus.intake import path_text
from hanlin.corpus.stream import whole_text
from hanlin.records.loaded import Problem, Row
from hanlin.records.table import Table, Troubles, columns_of, lines_of

LONGEST_JSON = 1 << 30
"""Characters in the longest file that is one JSON value."""


def read_jsonl(path: Path) -> Table:
    """One object a line; blank lines are passed over."""
    troubles = Troubles()
    rows: list[Row] = []
    for number, line in enumerate(lines_of(path, troubles), 1):
        if not line.strip():
            continue
        place = f"{path_text(path)}:{number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            troubles.problems.append(not_json(place, error))
            continue
        if isinstance(value, dict):
            rows.append(Row(place, value))
        else:
            troubles.problems.append(no_object(place))
    return Table(path_text(path), rows, columns_of(rows), troubles.problems)


def read_json(path: Path) -> Table:
    """One JSON value: an array of objects, an object of columns, or one whose only array is of objects (SQuAD's `data`).

    A file of one object a line is read as such. The place of an object in an array is its number: `train.json#17`.
    """
    troubles = Troubles()
    where = path_text(path)
    text = whole_text(path, "auto", troubles, LONGEST_JSON).removeprefix("\ufeff")
    try:
        value = json.loads(text) if text.strip() else []
    except (ValueError, RecursionError) as error:
        if text.lstrip()[:1] == "{" and "Extra data" in str(error):
            return read_jsonl(path)
        place = f"{where}:{getattr(error, 'lineno', 1)}"
        return Table(where, [], [], [*troubles.problems, not_json(place, error)])
    rows: list[Row] = []
    for number, item in enumerate(_items(value), 1):
        if not isinstance(item, dict):
            troubles.problems.append(no_object(f"{where}#{number}"))
        elif isinstance(item.get("paragraphs"), list):
            rows.extend(_questions(where, item))
        else:
            rows.append(Row(f"{where}#{number}", item))
    return Table(where, rows, columns_of(rows), troubles.problems)


def _items(value: Any) -> list[Any]:
    """The objects of a file: of an array; of columns of equal length; of the one array of objects in an object."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        return [value]
    arrays = {key: item for key, item in value.items() if isinstance(item, list)}
    holders = [item for item in arrays.values() if item and all(isinstance(one, dict) for one in item)]
    if len(holders) == 1 and len(arrays) == 1:
        return holders[0]
    if len(arrays) == len(value) > 1 and len({len(item) for item in arrays.values()}) == 1:
        return [dict(zip(arrays, cells, strict=True)) for cells in zip(*arrays.values(), strict=True)]
    return [value]


def _questions(where: str, article: dict[str, Any]) -> Iterator[Row]:
    """The questions of one article of SQuAD (arXiv 1606.05250; 1806.03822: `is_impossible`), CMRC 2018 or DRCD."""
    for paragraph in article["paragraphs"]:
        for question in paragraph.get("qas", ()):
            values = {"title": article.get("title", ""), "context": paragraph.get("context"), **question}
            yield Row(f"{where}#{question.get('id', '?')}", values)


def not_json(place: str, error: ValueError | RecursionError) -> Problem:
    """The problem of a text that is no JSON."""
    column = f", column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
    column_zh = f"，第 {error.colno} 列" if isinstance(error, json.JSONDecodeError) else ""
    reason = getattr(error, "msg", str(error))
    return Problem(
        place,
        Text(f"not valid JSON: {reason}{column}", f"不是有效的 JSON（{reason}{column_zh}）"),
        Text("Mend that record; one object a line.", "请修改该条记录；每行一个对象。"),
    )


def no_object(place: str) -> Problem:
    """The problem of a row that is JSON and no object."""
    return Problem(
        place,
        Text("not a JSON object", "不是 JSON 对象"),
        Text('Write {"column": value, ...}.', '请写成 {"列名": 值, ...}。'),
    )

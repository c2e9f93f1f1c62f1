"""Rows as texts that search, with what they are to find and what they are not."""

from collections.abc import Callable
from typing import Any

from hanlin.base.language import Text
from hanlin.base.records import Matched
from hanlin.records import names
from hanlin.records.columns import Columns, plain_name
from hanlin.records.loaded import Row
from hanlin.records.table import Table
from hanlin.records.values import BadRow, is_empty, is_number, label_of, list_of, text_of

_WRONG = frozenset(
    (
        "0",
        "false",
        "no",
        "contradiction",
        "neutral",
        "not_entailment",
        "not_duplicate",
        "否",
        "不相关",
        "矛盾",
        "中立",
    )
)


def matched(table: Table, columns: Columns, answers: bool) -> Callable[[Row], Matched | None]:
    """A reader of rows as `Matched`.

    Rows hold a query with lists (query, positive, negatives), or a pair with a label of 0 or 1; rows of the latter kind
    with the same query become one record, of the first of them, with the pairs labelled 0 for hard negatives, unless no
    answers are needed.
    """
    query, found = _columns(columns, answers)
    negatives = columns.find("hard_negatives", names.NEGATIVES)
    label = columns.find("label", ("label", "score", "relevance", "is_duplicate", "标签", "相关性"))
    if label is None or negatives is not None or not answers:
        return lambda row: Matched(
            query=text_of(row.values.get(query), query),
            found=_texts(row, found, answers),
            hard_negatives=_texts(row, negatives, False),
        )
    return _grouped(table, query, found, label)


def _columns(columns: Columns, answers: bool) -> tuple[str, str | None]:
    plain = {plain_name(name): name for name in columns.names}
    if not columns.is_named("query") and not columns.is_named("found"):
        for first, second in (*((one, "positive") for one in ("query", "anchor", "question")), *names.PAIRS):
            if plain_name(first) in plain and plain_name(second) in plain:
                return columns.take("query", plain[plain_name(first)]), columns.take(
                    "found", plain[plain_name(second)]
                )
    query = columns.need("query", names.QUERY)
    return query, columns.need("found", names.FOUND) if answers else columns.find("found", names.FOUND)


def _texts(row: Row, column: str | None, needed: bool) -> tuple[str, ...]:
    items = [item for item in list_of(row.values.get(column)) if not is_empty(item)] if column else []
    if needed and not items:
        raise BadRow(
            Text(f"'{column}' is empty: nothing is to be found", f"“{column}”为空：没有应找到的文本"),
            Text("Fill it in, or take the row out.", "请补上内容，或删去该行。"),
        )
    return tuple(_passage(item, column or "") for item in items)


def _passage(item: Any, column: str) -> str:
    """A text, or an object with a title and a text."""
    if isinstance(item, dict):
        return "\n".join(
            text_of(item[key], column) for key in ("title", "text") if not is_empty(item.get(key))
        )
    return text_of(item, column)


def _grouped(table: Table, query: str, found: str | None, label: str) -> Callable[[Row], Matched | None]:
    """Pairs with labels, gathered by query; each gathered record is given for the first row of its query."""
    pairs: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    given: set[str] = set()
    for row in table.rows:
        said = row.values.get(label)
        if said is not None and not any(
            map(is_empty, (row.values.get(query), row.values.get(found or ""), said))
        ):
            good, bad = pairs.setdefault(str(row.values[query]), ({}, {}))
            wrong = float(said) <= 0 if is_number(said) else label_of(said).casefold() in _WRONG
            (bad if wrong else good)[str(row.values[found or ""])] = None
    table.notes.append(
        Text(
            f"{table.where}: pairs are gathered by '{query}'; those whose '{label}' says no are hard negatives.",
            f"{table.where}：按“{query}”汇集；“{label}”为否的作为难负例。",
        )
    )
    without = Text("a query finds nothing and is left out", "查询没有应找到的文本，不取")

    def read(row: Row) -> Matched | None:
        asked = text_of(row.values.get(query), query)
        if is_empty(row.values.get(found or "")) or is_empty(row.values.get(label)):
            raise BadRow(
                Text(f"'{found}' or '{label}' is empty", f"“{found}”或“{label}”为空"),
                Text("Fill it in, or take the row out.", "请补上内容，或删去该行。"),
            )
        if asked in given:
            return None
        given.add(asked)
        good, bad = pairs[asked]
        if not good:
            table.count(without, row.place)
            return None
        return Matched(
            query=asked, found=tuple(good), hard_negatives=tuple(one for one in bad if one not in good)
        )

    return read

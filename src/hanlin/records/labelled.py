"""Rows as texts, or pairs of texts, with classes or with a number."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from hanlin.base.language import Text
from hanlin.base.records import Labelled, Scored
from hanlin.records import names
from hanlin.records.columns import Columns, plain_name
from hanlin.records.label_kinds import check_kinds, marks_of_no_label
from hanlin.records.loaded import Row
from hanlin.records.table import Table
from hanlin.records.values import BadRow, is_empty, is_number, label_of, list_of, number_of, text_of

_SEPARATORS = ("|", ";", "；", ",", "，", "、")
_NO_LABEL = Text("has no label ('-' or -1) and is left out", "没有标签（“-”或 -1），不取")


def labelled(table: Table, columns: Columns, answers: bool) -> Callable[[Row], Labelled | None]:
    """A reader of rows as `Labelled`; it gives None for a row that says that it has no label.

    Raises `DataError` for a column of labels that holds numbers beside words.
    """
    label = _label_column(table, columns, answers)
    text, pair = _text_columns(table, columns)
    cells = [row.values.get(label) for row in table.rows] if label else []
    check_kinds(table, label, cells)
    several = any(isinstance(cell, list) for cell in cells)
    separator = None if several or not label else _separator(label, cells)
    if separator:
        table.notes.append(
            Text(
                f"{table.where}: '{label}' holds several labels with '{separator}' between.",
                f"{table.where}：“{label}”含多个标签，以“{separator}”分隔。",
            )
        )
    unlabelled = marks_of_no_label(table, label, cells)

    def read(row: Row) -> Labelled | None:
        value = row.values.get(label) if label else None
        found: tuple[str, ...] | None = None
        if not is_empty(value) or value == []:
            pieces = _split(value, separator)
            found = tuple(dict.fromkeys(label_of(piece) for piece in pieces if not is_empty(piece)))
        if found is not None and len(found) == 1 and found[0] in unlabelled and not several:
            found = None
            if answers:
                table.count(_NO_LABEL, row.place)
                return None
        if found is None and answers:
            raise _no_answer(label)
        return Labelled(
            text=text_of(row.values.get(text), text),
            pair=text_of(row.values.get(pair), pair) if pair else None,
            labels=found,
        )

    return read


def scored(table: Table, columns: Columns, answers: bool) -> Callable[[Row], Scored | None]:
    """A reader of rows as `Scored`."""
    if table.numbered and not columns.is_named("score"):
        score = _column_of(table, columns, "score", lambda cells: all(map(is_number, cells)), needed=answers)
    else:
        score = columns.need("score", names.SCORE) if answers else columns.find("score", names.SCORE)
    text, pair = _text_columns(table, columns)

    def read(row: Row) -> Scored | None:
        value = row.values.get(score) if score else None
        if is_empty(value) and answers:
            raise _no_answer(score)
        return Scored(
            text=text_of(row.values.get(text), text),
            pair=text_of(row.values.get(pair), pair) if pair else None,
            score=None if is_empty(value) or not score else number_of(value, score),
        )

    return read


def _label_column(table: Table, columns: Columns, answers: bool) -> str | None:
    if table.numbered and not columns.is_named("label"):
        return _column_of(table, columns, "label", _are_classes, needed=answers)
    pair = _known_pair(columns) or ()
    guesses = [name for name in names.LABEL if plain_name(name) not in map(plain_name, pair)]
    return columns.need("label", guesses) if answers else columns.find("label", guesses)


def _are_classes(cells: list[str]) -> bool:
    return all(cells) and len(set(cells)) <= max(2, min(len(cells) // 5, 200))


def _column_of(
    table: Table,
    columns: Columns,
    field: str,
    fits: Callable[[list[str]], bool],
    needed: bool,
) -> str | None:
    """Of a table without header: the column whose cells fit, the one with the fewest different ones."""
    cells = {name: [str(row.values[name]).strip() for row in table.rows] for name in table.columns}
    fitting = [name for name in table.columns if table.rows and fits(cells[name])]
    fitting = [name for name in fitting if name not in columns.taken.values()]
    if not fitting:
        if needed:
            raise columns.missing(field)
        return None
    return columns.take(
        field, min(fitting, key=lambda name: (len(set(cells[name])) == 1, len(set(cells[name]))))
    )


def _known_pair(columns: Columns) -> tuple[str, str] | None:
    """The first two columns of which names are known that stand for the two texts of a pair."""
    plain = {plain_name(name): name for name in columns.names}
    for first, second in names.PAIRS:
        if plain_name(first) in plain and plain_name(second) in plain:
            return plain[plain_name(first)], plain[plain_name(second)]
    return None


def _text_columns(table: Table, columns: Columns) -> tuple[str, str | None]:
    """The columns of the text and, if there is one, of its pair; a pair is guessed only where neither is named."""
    if columns.is_named("text") or columns.is_named("pair"):
        return columns.need("text", names.TEXT), columns.find("pair")
    if table.numbered:
        return _longest_columns(table, columns)
    known = _known_pair(columns)
    if known and not set(known) & set(columns.taken.values()):
        return columns.take("text", known[0]), columns.take("pair", known[1])
    return columns.need("text", names.TEXT), None


def _longest_columns(table: Table, columns: Columns) -> tuple[str, str | None]:
    """Of a table without header: the column of the longest texts, and a second of about that length if there is one."""
    free = [name for name in table.columns if name not in columns.taken.values()]
    lengths = {name: sum(len(str(row.values[name])) for row in table.rows) for name in free}
    if not free:
        raise columns.missing("text", names.TEXT)
    first = max(free, key=lambda name: lengths[name])
    others = [name for name in free if name != first and lengths[name] > lengths[first] / 3]
    others = [
        name
        for name in others
        if len({str(row.values[name]) for row in table.rows}) > len(table.rows) / 5
        and not all(is_number(row.values[name]) for row in table.rows[:100])
    ]
    if not others:
        return columns.take("text", first), None
    first, second = sorted([first, max(others, key=lambda name: lengths[name])], key=table.columns.index)
    return columns.take("text", first), columns.take("pair", second)


def _separator(label: str, cells: Sequence[Any]) -> str | None:
    """What stands between several labels in one text: of a column named in the plural, the most frequent separator;
    else one whose every piece also stands alone."""
    texts = [label_of(cell) for cell in cells if not is_empty(cell)]
    if plain_name(label) in names.PLURAL_LABELS:
        counts = Counter({one: sum(one in text for text in texts) for one in _SEPARATORS})
        best, most = counts.most_common(1)[0]
        return best if most else None
    whole = set(texts)
    for one in _SEPARATORS:
        joined = {text for text in whole if one in text}
        pieces = {piece.strip() for text in joined for piece in text.split(one)}
        if joined and pieces <= whole - joined:
            return one
    return None


def _split(value: Any, separator: str | None) -> list[Any]:
    if separator and isinstance(value, str):
        return [piece.strip() for piece in value.split(separator)]
    return list_of(value) if isinstance(value, list) else [value]


def _no_answer(column: str | None) -> BadRow:
    return BadRow(
        Text(f"'{column}' is empty: the answer is missing", f"“{column}”为空：缺少答案"),
        Text("Fill it in, or take the row out.", "请补上内容，或删去该行。"),
    )

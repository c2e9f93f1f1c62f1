"""Rows as texts, or pairs of texts, with classes or with a number."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.base.records import Labelled, Scored
from hanlin.records import names
from hanlin.records.columns import Columns, plain_name
from hanlin.records.loaded import Row
from hanlin.records.table import Table
from hanlin.records.values import BadRow, is_empty, is_number, label_of, list_of, number_of, text_of

_SEPARATORS = ("|", ";", "；", ",", "，", "、")
_NO_LABEL = Text("has no label ('-' or -1) and is left out", "没有标签（“-”或 -1），不取")
_MOST_UNLABELLED = 0.02
_WHOLE_TEXT = re.compile(r"[+-]?\d+\.0+")


def labelled(table: Table, columns: Columns, answers: bool) -> Callable[[Row], Labelled | None]:
    """A reader of rows as `Labelled`; it gives None for a row that says that it has no label.

    Raises `DataError` for a column of labels that holds numbers beside words.
    """
    label = _label_column(table, columns, answers)
    text, pair = _text_columns(table, columns)
    cells = [row.values.get(label) for row in table.rows] if label else []
    _check_kinds(table, label, cells)
    several = any(isinstance(cell, list) for cell in cells)
    separator = None if several or not label else _separator(label, cells)
    if separator:
        table.notes.append(
            Text(
                f"{table.where}: '{label}' holds several labels with '{separator}' between.",
                f"{table.where}：“{label}”含多个标签，以“{separator}”分隔。",
            )
        )
    unlabelled = _marks_of_no_label(table, label, cells)

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


def _check_kinds(table: Table, label: str | None, cells: Sequence[Any]) -> None:
    """Numbers and the texts of numbers are one and are counted; numbers beside words are an error.

    In files where everything is text (CSV) numbers beside words are said, as a class may well be called `2024`.
    """
    if label is None:
        return
    flat = [
        (item, row.place)
        for row, cell in zip(table.rows, cells, strict=True)
        for item in list_of(cell)
        if not is_empty(item)
    ]
    numbers = [(item, place) for item, place in flat if isinstance(item, int | float)]
    words = [(item, place) for item, place in flat if not isinstance(item, int | float) and item != "-"]
    if numbers and words:
        plain = [one for one in words if not is_number(one[0])]
        if plain or any(isinstance(item, bool) for item, _ in numbers):
            raise _mixed(label, numbers[0], (plain or words)[0])
        for _, place in words:
            table.count(
                Text(
                    f"'{label}' is a number written as text; taken as that number",
                    f"“{label}”是写成文本的数字，按数字处理",
                ),
                place,
            )
        return
    written = [one for one in words if is_number(one[0])]
    if written and len(written) < len(words):
        other = next(one for one in words if not is_number(one[0]))
        table.notes.append(
            Text(
                f"'{label}' holds numbers ({written[0][0]!r} at {written[0][1]}) and words ({other[0]!r} at {other[1]}): "
                "if these are two ways to write the same classes, write them one way.",
                f"“{label}”中既有数字（{written[0][1]} 处的 {written[0][0]!r}）又有文字（{other[1]} 处的 {other[0]!r}）："
                "若是同一类别的两种写法，请统一。",
            )
        )
    for item, place in words:
        if _WHOLE_TEXT.fullmatch(str(item).strip()):
            table.count(
                Text(
                    f"'{label}' is a whole number with a point; taken without it",
                    f"“{label}”是带小数点的整数，去掉小数点",
                ),
                place,
            )


def _mixed(label: str, number: tuple[Any, str], word: tuple[Any, str]) -> DataError:
    return DataError(
        Text(
            f"'{label}' holds {number[0]!r} ({type(number[0]).__name__}) at {number[1]} and {word[0]!r} (text) at {word[1]}.",
            f"“{label}”在 {number[1]} 处是 {number[0]!r}（{type(number[0]).__name__}），在 {word[1]} 处是 {word[0]!r}（文本）。",
        ),
        Text(
            "Name all classes by numbers or all by words.",
            "请统一用数字或统一用文字表示类别。",
        ),
    )


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


def _marks_of_no_label(table: Table, label: str | None, cells: Sequence[Any]) -> frozenset[str]:
    """`-` as in SNLI (arXiv 1508.05326), and -1 beside 0, 1, ... if all or hardly any rows have it; else it is a class."""
    counts = Counter(label_of(cell) for cell in cells if not is_empty(cell) and not isinstance(cell, list))
    marks = {"-"} if counts["-"] else set()
    share = counts["-1"] / max(len(cells), 1)
    whole = all(name == "-1" or name.isdecimal() for name in counts)
    if counts["-1"] and whole and (share <= _MOST_UNLABELLED or share == 1):
        marks.add("-1")
    elif counts["-1"]:
        table.notes.append(
            Text(
                f"{table.where}: -1 in '{label}' is taken as a class ({counts['-1']} rows).",
                f"{table.where}：“{label}”中的 -1 按类别处理（{counts['-1']} 行）。",
            )
        )
    return frozenset(marks)


def _no_answer(column: str | None) -> BadRow:
    return BadRow(
        Text(f"'{column}' is empty: the answer is missing", f"“{column}”为空：缺少答案"),
        Text("Fill it in, or take the row out.", "请补上内容，或删去该行。"),
    )

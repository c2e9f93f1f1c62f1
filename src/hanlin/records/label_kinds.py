"""What stands in a column of classes: numbers, words, marks of no class."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.records.table import Table
from hanlin.records.values import is_empty, is_number, label_of, list_of

_MOST_UNLABELLED = 0.02
_WHOLE_TEXT = re.compile(r"[+-]?\d+\.0+")


def check_kinds(table: Table, label: str | None, cells: Sequence[Any]) -> None:
    """Numbers and the texts of numbers are one and are counted; numbers beside words are an error.

    In files where everything is text (CSV) numbers beside words are said, as a class may well be called `2024`. Raises
    `DataError` naming both places.
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
    truths = [one for one in numbers if isinstance(one[0], bool)]
    if 0 < len(truths) < len(numbers):
        raise _mixed(label, truths[0], next(one for one in numbers if not isinstance(one[0], bool)))
    if numbers and words:
        plain = [one for one in words if not is_number(one[0])]
        if plain or truths:
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


def _mixed(label: str, one: tuple[Any, str], other: tuple[Any, str]) -> DataError:
    said = [f"{value!r} ({type(value).__name__})" for value, _ in (one, other)]
    return DataError(
        Text(
            f"'{label}' holds {said[0]} at {one[1]} and {said[1]} at {other[1]}.",
            f"“{label}”在 {one[1]} 处是 {said[0]}，在 {other[1]} 处是 {said[1]}。",
        ),
        Text("Name all classes by numbers or all by words.", "请统一用数字或统一用文字表示类别。"),
    )


def marks_of_no_label(table: Table, label: str | None, cells: Sequence[Any]) -> frozenset[str]:
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

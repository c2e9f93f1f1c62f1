"""What stands in a cell, as text, as a number, as a list."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from hanlin.base.language import Text

_WHOLE = re.compile(r"[+-]?\d+\.0+")


class BadRow(Exception):
    """A row cannot be used: `reason`, and how to mend it."""

    def __init__(self, reason: Text, mend: Text) -> None:
        super().__init__(reason, mend)
        self.reason = reason
        self.mend = mend


def is_empty(value: Any) -> bool:
    """Whether nothing stands in a cell: no such column, null, NaN, white space, an empty list."""
    if isinstance(value, float) and math.isnan(value):
        return True
    return value is None or (isinstance(value, str) and not value.strip()) or value == []


def text_of(value: Any, column: str) -> str:
    """A text as it stands; a list of texts joined by spaces. Raises `BadRow` for nothing and for what is no text."""
    if isinstance(value, list | tuple) and value and all(isinstance(item, str) for item in value):
        value = " ".join(value)
    if is_empty(value):
        raise BadRow(
            Text(f"'{column}' is empty", f"“{column}”为空"),
            Text("Fill it in, or take the row out.", "请补上内容，或删去该行。"),
        )
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return plain_number(value)
    raise BadRow(
        Text(f"'{column}' is {_kind(value).en}, not text", f"“{column}”是{_kind(value).zh}，不是文本"),
        Text("Write a text there, or name another column.", "请改为文本，或指明另一列。"),
    )


def plain_number(value: int | float) -> str:
    """1 and 1.0 as `1`, 0.5 as `0.5`."""
    return str(int(value)) if math.isfinite(value) and value == int(value) else repr(value)


def label_of(value: Any) -> str:
    """The name of a class: 1, 1.0, "1" and "1.0" are the same; true is `true`; white space around it is taken off."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return plain_number(value)
    name = str(value).strip()
    return str(int(float(name))) if _WHOLE.fullmatch(name) else name


def number_of(value: Any, column: str) -> float:
    """A finite number. Raises `BadRow`."""
    try:
        number = float(str(value).strip()) if not isinstance(value, bool) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadRow(
            Text(
                f"'{column}' is {str(value)!r:.40}, not a number",
                f"“{column}”是 {str(value)!r:.40}，不是数字",
            ),
            Text("Write a number there.", "请改为数字。"),
        )
    return number


def is_number(value: Any) -> bool:
    """Whether a value is a number or the text of one."""
    try:
        return not isinstance(value, bool) and math.isfinite(float(str(value).strip()))
    except ValueError:
        return False


def list_of(value: Any) -> list[Any]:
    """A list as it stands; nothing is empty; anything else is a list of one."""
    if isinstance(value, list | tuple):
        return list(value)
    return [] if is_empty(value) else [value]


def read_list(value: Any) -> list[Any]:
    """`list_of`, and the text of a JSON list, as CSV files hold it, is that list."""
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        try:
            read = json.loads(value)
        except ValueError:
            return [value]
        return read if isinstance(read, list) else [value]
    return list_of(value)


def split_at(value: Any, separators: Sequence[str]) -> list[Any]:
    """`list_of`, and a text is cut at the first of the separators that it has."""
    items = list_of(value)
    if len(items) == 1 and isinstance(items[0], str):
        cut = next((one for one in separators if one in items[0]), None)
        return [piece.strip() for piece in items[0].split(cut) if piece.strip()] if cut else items
    return items


def _kind(value: Any) -> Text:
    if isinstance(value, dict):
        return Text("an object", "一个对象")
    if isinstance(value, list | tuple):
        return Text("a list", "一个列表")
    return Text(f"a {type(value).__name__}", f" {type(value).__name__}")

"""Private characters that stand for strings while a template is rendered."""

from collections.abc import Iterator, Mapping
from typing import Any


def private(taken: frozenset[str], count: int) -> list[int]:
    """Code points of `count` private characters that are not `taken`."""
    free = (code for code in range(0xF0000, 0x10FFFE) if chr(code) not in taken)
    return [next(free) for _ in range(count)]


def strings(value: Any) -> Iterator[str]:
    """All strings inside a JSON-like value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for entry in value.items():
            yield from strings(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from strings(entry)


def replaced(value: Any, table: Mapping[str, str]) -> Any:
    """A JSON-like value with `put` done to all strings inside it."""
    if isinstance(value, str):
        return put(value, table)
    if isinstance(value, Mapping):
        return {replaced(key, table): replaced(entry, table) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [replaced(entry, table) for entry in value]
    return value


def put(text: str, table: Mapping[str, str]) -> str:
    """`text` with every key of `table` replaced by its value, longer keys first."""
    for old in sorted(table, key=len, reverse=True):
        text = text.replace(old, table[old])
    return text

"""What a model with tools may write, as a grammar; and reading calls out of what it wrote, as it comes.

A call is `<tool_call>`, a line `{"name": ..., "arguments": {...}}` and `</tool_call>`: the form of Hermes (Nous Research 2024)
and Qwen 2.5 and 3. Arguments satisfy the schema of their function, on one line, so that the line's end is the call's.
"""

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hanlin.serve.tools import Function

OPEN, CLOSE = "<tool_call>", "</tool_call>"
FinishReason = Literal["stop", "length", "tool_calls"]

MOST_CALLS = 16
"""Calls in one answer."""

_HEAD = '{"name": "'
_ARGUMENTS = '", "arguments": '
_ONE_LINE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def tool_grammar(
    functions: Sequence[Function], must: bool, several: bool, answer: dict[str, Any] | None = None
) -> str:
    """The grammar in the notation of Lark: calls of `functions`, and unless one `must` be made also text without any.

    several: up to `MOST_CALLS` calls. answer: the schema that a text without calls has to satisfy.
    """
    more = f' ("\\n" call){{0,{MOST_CALLS - 1}}}' if several else ""
    line = json.dumps(f"\n{CLOSE}")
    calls = f'call: {json.dumps(OPEN)} rest\nrest: "\\n" made {line}\ncalls: call{more}\n'
    match (must, answer):
        case (True, _):
            start = "start: calls\n"
        case (False, None):
            start = f"start: TEXT | begun rest{more}\nTEXT: /(?s:.*)/\nbegun[lazy]: /(?s:.*){OPEN}/\n"
        case _:
            start = f"start: calls | answer\nanswer: {_json(answer or {})}\n"
    made = [f"made_{number}" for number in range(len(functions))]
    rules = [f"made: {' | '.join(made)}\n"] + [
        f'{name}: {json.dumps(_HEAD + function.name + _ARGUMENTS)} arguments_{number} "}}"\n'
        f"arguments_{number}: {_json(function.arguments)}\n"
        for number, (name, function) in enumerate(zip(made, functions, strict=True))
    ]
    return start + calls + "".join(rules)


def _json(schema: dict[str, Any]) -> str:
    return f"%json {json.dumps({**schema, 'x-guidance': _ONE_LINE}, ensure_ascii=False)}"


@dataclass(frozen=True)
class Said:
    """Some text of an answer outside of calls."""

    text: str


@dataclass(frozen=True)
class Called:
    """A call begins: its number in the answer, its id, and whom it calls."""

    number: int
    id: str
    name: str


@dataclass(frozen=True)
class Argued:
    """More of the JSON text of its arguments."""

    number: int
    text: str


Part = Said | Called | Argued


class CallReader:
    """Takes the text of an answer apart while it comes. Text that may be the beginning of a call is held back."""

    def __init__(self, calls: bool) -> None:
        """calls: whether there may be any; else everything is said as it comes."""
        self._calls = calls
        self._held = ""
        self._state = "text"
        self._number = -1

    def finish_reason(self, reason: str) -> FinishReason:
        """Why the answer ended, if its text ended for `reason`."""
        if reason == "length":
            return "length"
        return "tool_calls" if self._number >= 0 else "stop"

    def read(self, text: str, last: bool) -> Iterator[Part]:
        """What is certain now that `text` came, the `last` or not. Of a call that was cut before its name, nothing is told."""
        if not self._calls:
            if text:
                yield Said(text)
            return
        self._held += text
        while (step := self._step()) is not None:
            yield from step
        if last and self._held and self._state == "arguments":
            yield Argued(self._number, self._held)
        elif last and self._held and self._state == "text" and self._number < 0:
            yield Said(self._held)

    def _step(self) -> list[Part] | None:
        """Parts that could be read, and a step on in the text; None: more text is needed."""
        match self._state:
            case "text":
                return self._text()
            case "name":
                return self._name()
            case _:
                return self._arguments()

    def _text(self) -> list[Part] | None:
        before, found, after = self._held.partition(OPEN)
        if found:
            self._held, self._state = after, "name"
        else:
            size = next(
                n
                for n in range(min(len(OPEN) - 1, len(before)), -1, -1)
                if OPEN.startswith(before[len(before) - n :])
            )
            before, self._held = before[: len(before) - size], before[len(before) - size :]
        said: list[Part] = [Said(before)] if before and self._number < 0 else []
        return said if found or said else None

    def _name(self) -> list[Part] | None:
        head, found, after = self._held.partition(_ARGUMENTS)
        if not found:
            return None
        self._held, self._state, self._number = after, "arguments", self._number + 1
        return [Called(self._number, f"call_{uuid.uuid4().hex[:24]}", head.partition(_HEAD)[2])]

    def _arguments(self) -> list[Part] | None:
        line, found, after = self._held.partition("\n")
        if found:
            self._held, self._state = after.removeprefix(CLOSE), "text"
            return [Argued(self._number, line.removesuffix("}"))]
        # The last brace may be the call's and not the arguments'.
        told = line.removesuffix("}")
        self._held = line[len(told) :]
        return [Argued(self._number, told)] if told else None

"""Tools (function calling) as requests bring them: what may be called, what must be, and calls that were made before."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from hanlin.serve.body import Body, mistake

MAX_TOOLS = 128
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}
"""The arguments of a function that declares none."""


class Function(Body):
    """What can be called, and with what: `parameters` is a JSON schema, kept to whether `strict` or not."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    """Schema of an object; without one the function takes nothing."""
    strict: bool | None = None

    @field_validator("parameters")
    @classmethod
    def _of_an_object(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value and value.get("type") != "object":
            raise mistake(
                "invalid_value",
                'must be a JSON schema of "type": "object"',
                '必须是 "type": "object" 的 JSON 模式',
            )
        return value

    @property
    def arguments(self) -> dict[str, Any]:
        """The schema that arguments are written by: nothing that a list of properties does not name, unless it says so."""
        schema = self.parameters or NOTHING
        closed = "properties" in schema and "additionalProperties" not in schema
        return (
            {**schema, "additionalProperties": False}
            if closed and "patternProperties" not in schema
            else schema
        )


class Tool(Body):
    """A function."""

    type: Literal["function"]
    function: Function


def _distinct(tools: list[Tool]) -> list[Tool]:
    names = [tool.function.name for tool in tools]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise mistake("invalid_value", f"has two functions named '{twice}'", f"中有两个名为“{twice}”的函数")
    return tools


Tools = Annotated[list[Tool], Field(max_length=MAX_TOOLS), AfterValidator(_distinct)]


class FunctionName(Body):
    """One function by name."""

    name: str


class NamedTool(Body):
    """The one that must be called."""

    type: Literal["function"]
    function: FunctionName


def _formed(value: Any) -> Any:
    named = (
        isinstance(value, dict)
        and value.get("type") == "function"
        and isinstance(value.get("function"), dict)
    )
    if value in ("none", "auto", "required", None) or (named and set(value) == {"type", "function"}):
        return value
    raise mistake(
        "invalid_value",
        'must be "none", "auto", "required" or {"type": "function", "function": {"name": "..."}}',
        '必须是 "none"、"auto"、"required" 或 {"type": "function", "function": {"name": "..."}}',
    )


ToolChoice = Annotated[
    Literal["none", "auto", "required"] | NamedTool,
    Field(union_mode="left_to_right"),
    BeforeValidator(_formed),
]


class MadeFunction(Body):
    """A function with the arguments it was called with, as JSON text."""

    name: str
    arguments: str

    @field_validator("arguments")
    @classmethod
    def _an_object(cls, value: str) -> str:
        try:
            made = json.loads(value or "{}")
        except (ValueError, RecursionError):
            made = None
        if not isinstance(made, dict):
            raise mistake("invalid_value", "must be the JSON text of an object", "必须是 JSON 对象的文本")
        return value

    @property
    def values(self) -> dict[str, Any]:
        """The arguments."""
        values: dict[str, Any] = json.loads(self.arguments or "{}")
        return values


class MadeCall(Body):
    """A call in an answer that is sent back."""

    id: str = Field(min_length=1)
    type: Literal["function"] = "function"
    function: MadeFunction
    index: int | None = None
    """Accepted: clients that put streams together leave it in."""


def offered(tools: Sequence[Tool] | None, choice: ToolChoice | None) -> list[Function]:
    """The functions that the model may call, or must."""
    functions = [] if choice == "none" else [tool.function for tool in tools or ()]
    if isinstance(choice, NamedTool):
        return [function for function in functions if function.name == choice.function.name]
    return functions


def check_choice(tools: Sequence[Tool] | None, choice: ToolChoice | None) -> None:
    """Raise a mistake where what must be called is not there."""
    if choice in (None, "none", "auto"):
        return
    if not tools:
        raise mistake("invalid_value", "may only be set with tools", "只能与 tools 一起使用")
    if isinstance(choice, NamedTool) and not offered(tools, choice):
        known = ", ".join(tool.function.name for tool in tools)
        name = choice.function.name[:100]
        raise mistake(
            "invalid_value",
            f"names the function '{name}', which is not among tools: {known}",
            f"指定的函数“{name}”不在 tools 中：{known}",
        )

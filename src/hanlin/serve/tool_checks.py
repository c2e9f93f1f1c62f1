"""What a conversation with tools must look like before it can be rendered and answered."""

from collections.abc import Sequence

from hanlin.base.errors import HanlinError
from hanlin.base.language import Text
from hanlin.base.records import Message
from hanlin.generate.endless import is_endless
from hanlin.generate.grammar import compiled
from hanlin.generate.grammar_errors import endless
from hanlin.generate.parameters import SamplingParameters
from hanlin.serve.problems import ApiProblem, from_hanlin
from hanlin.serve.requests import ChatMessage
from hanlin.serve.tool_prompt import ToolTurn
from hanlin.serve.tools import Function
from hanlin.tokenizer.tokenizer import Tokenizer


def check_history(messages: Sequence[ChatMessage]) -> None:
    """Raise `ApiProblem` 400 unless every call is followed by its result, and every result follows its call."""
    waiting: dict[str, int] = {}
    for number, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_call_id is None:
                raise _wrong(
                    f"messages[{number}].tool_call_id",
                    "is required with the role 'tool'",
                    "在角色“tool”下必须给出",
                )
            if message.tool_call_id not in waiting:
                raise _wrong(
                    f"messages[{number}].tool_call_id",
                    f"'{message.tool_call_id[:100]}' answers no call of the tool_calls before it",
                    f"“{message.tool_call_id[:100]}”不对应此前 tool_calls 中的任何调用",
                )
            del waiting[message.tool_call_id]
            continue
        _check_answered(waiting)
        if message.tool_call_id is not None:
            raise _wrong(
                f"messages[{number}].tool_call_id", "is only for the role 'tool'", "只用于角色“tool”"
            )
        if message.tool_calls and message.role != "assistant":
            raise _wrong(
                f"messages[{number}].tool_calls", "is only for the role 'assistant'", "只用于角色“assistant”"
            )
        waiting = {call.id: number for call in message.tool_calls or ()}
        if len(waiting) < len(message.tool_calls or ()):
            raise _wrong(f"messages[{number}].tool_calls", "has the same id twice", "中有重复的 id")
    _check_answered(waiting)


def turns(messages: Sequence[ChatMessage]) -> list[Message]:
    """The conversation as it is rendered."""
    names = {call.id: call.function.name for message in messages for call in message.tool_calls or ()}
    made: list[Message] = []
    for message in messages:
        role = "system" if message.role == "developer" else message.role
        if role == "tool" or message.tool_calls:
            made.append(
                ToolTurn(
                    role=role,
                    content=message.content,
                    calls=tuple(message.tool_calls or ()),
                    call_id=message.tool_call_id or "",
                    name=names.get(message.tool_call_id or "", ""),
                )
            )
        else:
            made.append(Message(role=role, content=message.content))
    return made


def check_ends(functions: Sequence[Function]) -> None:
    """Raise `ApiProblem` 400 for a function whose arguments would nest for ever."""
    for number, function in enumerate(functions):
        if is_endless(function.arguments):
            raise from_hanlin(endless(), _place(number), "invalid_function_parameters")


def check_schemas(functions: Sequence[Function], tokenizer: Tokenizer) -> None:
    """Raise `ApiProblem` 400 for the first function whose schema cannot be followed."""
    for number, function in enumerate(functions):
        try:
            compiled(SamplingParameters(json_schema=function.arguments), "json_schema", tokenizer)
        except HanlinError as error:
            raise from_hanlin(error, _place(number), "invalid_function_parameters") from error


def _place(number: int) -> str:
    return f"tools[{number}].function.parameters"


def _check_answered(waiting: dict[str, int]) -> None:
    if waiting:
        ids, number = ", ".join(waiting)[:200], next(iter(waiting.values()))
        raise _wrong(
            f"messages[{number}].tool_calls",
            f"must be followed by a message of the role 'tool' for each call; there is none for: {ids}",
            f"之后必须有对应每个调用的“tool”消息；缺少：{ids}",
        )


def _wrong(param: str, en: str, zh: str) -> ApiProblem:
    return ApiProblem(400, Text(f"'{param}' {en}.", f"“{param}”{zh}。"), param=param, code="invalid_value")

"""Conversations with tools, as the model reads them: by its own template where that knows tools and our form of calls, else
in words of ours: the functions stand in the system's turn, calls in the assistant's, results in the user's."""

import json
from collections.abc import Sequence
from typing import Any, Literal

from hanlin.base.errors import HanlinError
from hanlin.base.records import Message
from hanlin.serve.tool_grammar import CLOSE, OPEN
from hanlin.serve.tools import Function, MadeCall
from hanlin.tokenizer.chat import ChatTemplate, Rendered

_WORDS = """You may call functions. These are there, each with the JSON schema of its arguments:
{functions}
To call one, answer with a line for it:
{open}
{{"name": "the function", "arguments": {{...}}}}
{close}"""
_PROBE = Function(
    name="probe_of_template", parameters={"type": "object", "properties": {"x": {"type": "integer"}}}
)


class ToolTurn(Message):
    """A turn that may hold calls, or the result of one."""

    role: Literal["system", "user", "assistant", "tool"]  # type: ignore[assignment]
    calls: tuple[MadeCall, ...] = ()
    call_id: str = ""
    """Of a result: which call it is the result of."""
    name: str = ""
    """Of a result: the function."""

    def for_template(self) -> dict[str, Any]:
        """See `Message`."""
        given: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.calls:
            given["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": call.function.values}}
                for call in self.calls
            ]  # fmt: skip
        if self.role == "tool":
            given |= {"tool_call_id": self.call_id, "name": self.name}
        return given


class ToolTemplate:
    """Renders conversations in which `functions` may be called."""

    def __init__(self, template: ChatTemplate, functions: Sequence[Function]) -> None:
        self._template = template
        self._functions = functions
        self._own = knows_tools(template)

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> Rendered:
        """The ids of `messages`; raises as `ChatTemplate.render`."""
        if self._own:
            tools = [_described(function) for function in self._functions] or None
            return self._template.render(messages, add_generation_prompt, tools)
        return self._template.render(in_words(messages, self._functions), add_generation_prompt)


def knows_tools(template: ChatTemplate) -> bool:
    """Whether a template tells of tools and writes calls as `tool_grammar` does: found by having it render one."""
    call = MadeCall.model_validate(
        {"id": "call_0", "function": {"name": _PROBE.name, "arguments": '{"x": 1}'}}
    )
    turns = [
        ToolTurn(role="user", content="?"),
        ToolTurn(role="assistant", content="", calls=(call,)),
        ToolTurn(role="tool", content="!", call_id="call_0", name=_PROBE.name),
    ]
    try:
        ids = template.render(turns, add_generation_prompt=True, tools=[_described(_PROBE)]).ids
    except HanlinError:
        return False
    text = template.tokenizer.decode(ids, skip_special=False)
    return text.count(_PROBE.name) == 2 and _written(call) in text


def in_words(messages: Sequence[Message], functions: Sequence[Function]) -> list[Message]:
    """The same conversation in the three roles that every template knows."""
    turns: list[Message] = []
    for message in messages:
        calls = message.calls if isinstance(message, ToolTurn) else ()
        if isinstance(message, ToolTurn) and message.role == "tool":
            result = f"<tool_response>\n{message.content}\n</tool_response>"
            if turns and turns[-1].role == "user" and turns[-1].content.endswith("</tool_response>"):
                result = f"{turns.pop().content}\n{result}"
            turns.append(Message(role="user", content=result))
        else:
            said = [message.content] if message.content or not calls else []
            turns.append(Message(role=message.role, content="\n".join([*said, *map(_written, calls)])))
    if not functions:
        return turns
    listed = "\n".join(json.dumps(_described(one)["function"], ensure_ascii=False) for one in functions)
    words = _WORDS.format(functions=listed, open=OPEN, close=CLOSE)
    if turns and turns[0].role == "system":
        words = f"{turns.pop(0).content}\n\n{words}"
    return [Message(role="system", content=words), *turns]


def _written(call: MadeCall) -> str:
    made = json.dumps({"name": call.function.name, "arguments": call.function.values}, ensure_ascii=False)
    return f"{OPEN}\n{made}\n{CLOSE}"


def _described(function: Function) -> dict[str, Any]:
    described = {
        "name": function.name,
        "description": function.description or "",
        "parameters": function.arguments,
    }
    return {"type": "function", "function": described}

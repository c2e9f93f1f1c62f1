"""Rows as conversations: OpenAI messages, ShareGPT, Alpaca, prompt and response, lists of what was said in turn."""

from collections.abc import Callable
from typing import Any, Literal

from hanlin.base.language import Text
from hanlin.base.records import Dialogue, Turn
from hanlin.records import names
from hanlin.records.columns import Columns, plain_name
from hanlin.records.loaded import Row
from hanlin.records.table import Table
from hanlin.records.values import BadRow, is_empty, list_of, read_list, text_of

Role = Literal["system", "user", "assistant"]

_ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "usr": "user",
    "customer": "user",
    "用户": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "chatglm": "assistant",
    "agent": "assistant",
    "助手": "assistant",
}
_TOOLS = frozenset(
    (
        "tool",
        "function",
        "function_call",
        "observation",
        "tool_call",
        "tool_calls",
        "tool_response",
        "ipython",
    )
)
_ROLE_KEYS, _CONTENT_KEYS = ("role", "from", "speaker"), ("content", "value", "text", "utterance")
_NO_MEND = Text(
    "Take the row out: Hanlin does not learn to call tools.", "请删去该行：Hanlin 不学习工具调用。"
)


def dialogue(table: Table, columns: Columns, answers: bool) -> Callable[[Row], Dialogue | None]:
    """A reader of rows as `Dialogue`. A system prompt is kept; turns of tools are problems."""
    messages = columns.find("messages", () if columns.is_named("instruction") else names.MESSAGES)
    if messages is None:
        return _instructed(table, columns, answers)
    system = columns.find("system", ("system", "system_prompt", "系统提示"))

    def read(row: Row) -> Dialogue | None:
        turns = _turns(row.values.get(messages), messages)
        if system and not is_empty(row.values.get(system)) and turns[0].role != "system":
            turns.insert(0, Turn(role="system", content=text_of(row.values[system], system)))
        if answers and not any(turn.role == "assistant" and turn.learn for turn in turns):
            raise BadRow(
                Text("the assistant says nothing that could be learned", "助手没有可学习的发言"),
                Text(
                    "Add an answer of the assistant, or take the row out.", "请补上助手的回答，或删去该行。"
                ),
            )
        return Dialogue(messages=tuple(turns))

    return read


def _turns(cell: Any, column: str) -> list[Turn]:
    """The turns of a list of objects with a role, or of texts said in turn, the user first."""
    items = read_list(cell)
    if not items:
        raise BadRow(
            Text(f"'{column}' is empty", f"“{column}”为空"),
            Text(
                "Write the messages of a conversation there, or take the row out.",
                "请写入对话消息，或删去该行。",
            ),
        )
    if all(isinstance(item, str) for item in items):
        return [
            Turn(role="assistant" if number % 2 else "user", content=text_of(item, column))
            for number, item in enumerate(items)
        ]
    roles = {str(_first(item, _ROLE_KEYS)) for item in items if isinstance(item, dict)}
    return [_turn(item, number, "usr" in roles) for number, item in enumerate(items, 1)]


def _turn(item: Any, number: int, sys_answers: bool) -> Turn:
    """sys_answers: whether `sys` is who answers `usr` (MultiWOZ, CrossWOZ), and no system prompt."""
    if not isinstance(item, dict) or _first(item, _ROLE_KEYS) is None:
        raise BadRow(
            Text(f"message {number} has no role: {item!r:.60}", f"第 {number} 条消息没有角色：{item!r:.60}"),
            Text('Write {"role": "user", "content": "..."}.', '请写成 {"role": "user", "content": "..."}。'),
        )
    said = str(_first(item, _ROLE_KEYS)).strip().casefold()
    if said in _TOOLS or item.get("tool_calls") or item.get("function_call"):
        raise BadRow(
            Text(f"message {number} is a tool's or calls one", f"第 {number} 条消息来自工具或调用工具"),
            _NO_MEND,
        )
    role = "assistant" if said == "sys" and sys_answers else _ROLES.get(said)
    if role is None:
        raise BadRow(
            Text(
                f"message {number} has the unknown role {said!r}",
                f"第 {number} 条消息的角色 {said!r} 无法识别",
            ),
            Text("Write system, user or assistant.", "请写 system、user 或 assistant。"),
        )
    content = _first(item, _CONTENT_KEYS)
    if isinstance(content, list):  # OpenAI's parts
        if any(not isinstance(part, dict) or part.get("type") != "text" for part in content):
            raise BadRow(
                Text(f"message {number} holds more than text", f"第 {number} 条消息不只含文本"),
                Text("Take images and sound out.", "请去掉图像和声音。"),
            )
        content = "".join(str(part.get("text", "")) for part in content)
    learn = item.get("learn", item.get("weight", 1)) not in (0, False)
    return Turn(role=role, content=text_of(content, f"message {number}"), learn=learn)


def _unfold_instances(table: Table, columns: Columns) -> None:
    """Rows with several cases of one instruction (Self-Instruct's `instances`) become a row for each."""
    if not table.rows or not all(isinstance(row.values.get("instances"), list) for row in table.rows):
        return
    table.rows = [
        Row(row.place, {**row.values, **case}) for row in table.rows for case in row.values["instances"]
    ]
    columns.add([name for name in ("input", "output") if name not in columns.names])


def _instructed(table: Table, columns: Columns, answers: bool) -> Callable[[Row], Dialogue | None]:
    """Alpaca's columns: instruction, input, output; with a system prompt and a history if there are columns of them."""
    _unfold_instances(table, columns)
    instruction = columns.need("instruction", names.INSTRUCTION)
    extra = columns.find("input", names.INPUT if plain_name(instruction) in ("instruction", "指令") else ())
    output = columns.need("output", names.OUTPUT) if answers else columns.find("output", names.OUTPUT)
    system = columns.find("system", ("system", "system_prompt", "系统提示"))
    history = columns.find("history", ("history", "历史"))

    def read(row: Row) -> Dialogue | None:
        turns: list[Turn] = []
        if system and not is_empty(row.values.get(system)):
            turns.append(Turn(role="system", content=text_of(row.values[system], system)))
        for asked, replied in list_of(row.values.get(history)) if history else ():
            turns.append(Turn(role="user", content=text_of(asked, "history")))
            turns.append(Turn(role="assistant", content=text_of(replied, "history")))
        prompt = text_of(row.values.get(instruction), instruction)
        if extra and not is_empty(row.values.get(extra)):
            prompt = f"{prompt}\n{text_of(row.values[extra], extra)}"
        turns.append(Turn(role="user", content=prompt))
        if output and (answers or not is_empty(row.values.get(output))):
            turns.append(Turn(role="assistant", content=text_of(row.values.get(output), output)))
        return Dialogue(messages=tuple(turns))

    return read


def _first(item: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((item[key] for key in keys if item.get(key) is not None), None)

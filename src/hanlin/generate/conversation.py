"""Fitting a conversation into a window: the oldest whole exchanges go first."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from hanlin.base.errors import RequestError
from hanlin.base.language import Text
from hanlin.base.records import Message
from hanlin.tokenizer.chat import ChatTemplate


@dataclass(frozen=True)
class ChatPrompt:
    """Ids up to where the answer begins, and how many old turns (messages) had to be left out."""

    ids: list[int]
    dropped_turns: int


def fit_conversation(
    template: ChatTemplate, messages: Sequence[Message], window: int, max_new_tokens: int
) -> ChatPrompt:
    """The prompt for the next answer, leaving room for `max_new_tokens` in `window`.

    An exchange is a turn of the user with the answers to it. Exchanges are left out whole, oldest first,
    never the leading system turn nor the last turn of the user. If these alone leave less room than asked
    for, the answer may be shorter; if they leave none, raises `RequestError`, as for a conversation that
    does not end with the user.
    """
    if not messages or messages[-1].role != "user":
        raise _nothing_to_answer()
    first = next(n for n, message in enumerate(messages) if message.role != "system")
    system, rest = messages[:first], messages[first:]
    starts = [0, *(n for n, message in enumerate(rest) if message.role == "user" and n > 0)]

    def prompt(dropped_exchanges: int) -> list[int]:
        kept = [*system, *rest[starts[dropped_exchanges] :]]
        return template.render(kept, add_generation_prompt=True).ids

    room = window - max_new_tokens
    ids, dropped = prompt(0), 0
    if len(ids) > room:
        last = len(starts) - 1
        dropped = bisect_left(range(last), True, key=lambda n: len(prompt(n)) <= room)
        ids = prompt(dropped)
    if len(ids) >= window:
        raise _does_not_fit(len(ids), window)
    return ChatPrompt(ids, starts[dropped])


def as_messages(messages: Sequence[Message | Mapping[str, Any]]) -> list[Message]:
    """Messages from records or `{"role", "content"}` objects; raises `RequestError` naming the first that
    is neither."""
    checked = []
    for number, message in enumerate(messages, 1):
        try:
            checked.append(message if isinstance(message, Message) else Message.model_validate(message))
        except ValidationError as error:
            detail = error.errors()[0]
            where = ".".join(map(str, detail["loc"])) or "message"
            raise RequestError(
                Text(
                    f"Message {number}: {where}: {detail['msg']}.",
                    f"第 {number} 条消息有误：{where}：{detail['msg']}。",
                ),
                Text(
                    'A message is {"role": "system" | "user" | "assistant", "content": "..."}.',
                    '消息的格式为 {"role": "system" | "user" | "assistant", "content": "..."}。',
                ),
            ) from error
    return checked


def _nothing_to_answer() -> RequestError:
    return RequestError(
        Text("The conversation does not end with a turn of the user.", "对话的最后一轮不是用户。"),
        Text("Add the user's message as the last one.", "请把用户的消息放在最后。"),
    )


def _does_not_fit(length: int, window: int) -> RequestError:
    return RequestError(
        Text(
            f"The system turn and the last turn of the user take {length} tokens; the model's window is "
            f"{window}.",
            f"系统提示与用户最后一轮共 {length} 个词元，而模型窗口为 {window}。",
        ),
        Text("Shorten them, or use a model with a longer window.", "请缩短它们，或换用窗口更长的模型。"),
    )

"""Fitting a conversation into a window: the oldest whole exchanges go first; of a text, its beginning."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import ValidationError

from hanlin.base.errors import RequestError
from hanlin.base.language import Text
from hanlin.base.records import Message
from hanlin.tokenizer.chat import Rendered

Overflow = Literal["trim", "refuse"]
"""What becomes of a prompt that leaves too little room in the window: cut it, which the result tells, or raise."""


class Renders(Protocol):
    """A chat template, or what stands for one."""

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> Rendered:
        """The ids of `messages`, with `add_generation_prompt` up to where the next answer begins."""


@dataclass(frozen=True)
class ChatPrompt:
    """Ids up to where the answer begins, and how many old turns (messages), or tokens of a text that is no
    conversation, had to be left out."""

    ids: list[int]
    dropped_turns: int = 0
    dropped_tokens: int = 0


def fit_text(ids: list[int], window: int, max_new_tokens: int, begin: int) -> ChatPrompt:
    """The first `begin` ids, and of the others the last that leave room for `max_new_tokens` in `window`.

    Raises `RequestError` where that is not even one.
    """
    room = window - max_new_tokens
    if len(ids) <= room:
        return ChatPrompt(ids)
    kept = room - begin
    if kept < 1:
        raise RequestError(
            Text(f"{max_new_tokens} new tokens leave no room for a prompt in a window of {window}.",
                 f"窗口为 {window}，要生成 {max_new_tokens} 个词元，放不下提示词。"),
            Text("Ask for fewer: max_new_tokens.", "请减小 max_new_tokens。"),
        )  # fmt: skip
    return ChatPrompt([*ids[:begin], *ids[-kept:]], dropped_tokens=len(ids) - begin - kept)


def fit_conversation(
    template: Renders,
    messages: Sequence[Message],
    window: int,
    max_new_tokens: int,
    overflow: Overflow = "trim",
) -> ChatPrompt:
    """The prompt for the next answer, leaving room for `max_new_tokens` in `window`.

    overflow: "refuse" raises `RequestError` where turns would have to be left out. An exchange is a turn of the user with the answers to it. Exchanges are left out whole, oldest first,
    never the leading system turn nor the last turn of the user. If these alone leave less room than asked
    for, the answer may be shorter; if they leave none, raises `RequestError`, as for a conversation that
    does not end with the user.
    """
    if not messages or messages[-1].role in ("assistant", "system"):
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
        if last and overflow == "refuse":
            raise _too_long(len(ids), window, max_new_tokens)
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


def _too_long(length: int, window: int, max_new_tokens: int) -> RequestError:
    return RequestError(
        Text(f"The conversation takes {length} tokens and its answer up to {max_new_tokens}; the window is {window}.",
             f"对话占 {length} 个词元，回答至多 {max_new_tokens} 个，而窗口为 {window}。"),
        Text("Leave old turns out (overflow: trim does), or ask for a shorter answer: max_new_tokens.",
             "请去掉旧的轮次（overflow: trim 会自动去掉），或减小 max_new_tokens。"),
    )  # fmt: skip


def _does_not_fit(length: int, window: int) -> RequestError:
    return RequestError(
        Text(
            f"The system turn and the last turn of the user take {length} tokens; the model's window is "
            f"{window}.",
            f"系统提示与用户最后一轮共 {length} 个词元，而模型窗口为 {window}。",
        ),
        Text("Shorten them, or use a model with a longer window.", "请缩短它们，或换用窗口更长的模型。"),
    )

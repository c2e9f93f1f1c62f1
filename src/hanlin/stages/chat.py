"""`hanlin chat`: a conversation in the terminal, streamed; both sides are kept."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing

from hanlin.base.errors import HanlinError
from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.base.records import Message
from hanlin.generate.generation import Piece
from hanlin.generate.language_model import LanguageModel

_HELP = Text(
    "/reset forgets the conversation, /quit (or Ctrl-D) ends, Ctrl-C stops an answer.",
    "/reset 忘掉对话，/quit（或 Ctrl-D）结束，Ctrl-C 停止当前回答。",
)


def run_chat(
    model: LanguageModel, system: str | None, read: Callable[[], str | None], **parameters: object
) -> list[Message]:
    """Answer what `read` returns until it returns None. Ctrl-C stops the answer, not the chat.

    Returns the conversation as it stood at the end.
    """
    console.print(str(_HELP), style="dim")
    opening = [Message(role="system", content=system)] if system else []
    messages = list(opening)
    while (line := read()) is not None:
        line = line.strip()
        if line == "/quit":
            break
        if line == "/reset":
            messages = list(opening)
        elif line.startswith("/"):
            console.print(str(_HELP), style="dim")
        elif line:
            messages = _turn(model, [*messages, Message(role="user", content=line)], parameters)
    return messages


def _turn(model: LanguageModel, messages: list[Message], parameters: dict[str, object]) -> list[Message]:
    """One exchange; returns the conversation after it, without the user's turn if it could not be answered."""
    start = time.perf_counter()
    try:
        most = model.defaults.changed(parameters).max_new_tokens
        dropped = model.chat_prompt(messages, most).dropped_turns
        if dropped:
            console.print(
                str(
                    Text(
                        f"({dropped} old turns no longer fit the window)",
                        f"（窗口已放不下，略去 {dropped} 条旧消息）",
                    )
                ),
                style="dim",
            )
        answer, tokens = _print_stream(model.stream_chat(messages, **parameters))
    except HanlinError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return messages[:-1]
    speed = tokens / max(1e-9, time.perf_counter() - start)
    console.print(
        str(Text(f"[{tokens} tokens, {speed:.0f}/s]", f"[{tokens} 个词元，每秒 {speed:.0f} 个]")),
        style="dim",
        markup=False,
    )
    return [*messages, Message(role="assistant", content=answer)]


def _print_stream(pieces: Iterator[Piece]) -> tuple[str, int]:
    """Write pieces as they come; the text and its number of tokens, whole or up to Ctrl-C."""
    text, tokens = "", 0
    with closing(pieces):  # type: ignore[type-var]
        try:
            for piece in pieces:
                text, tokens = text + piece.text, tokens + len(piece.token_ids)
                sys.stdout.write(piece.text)
                sys.stdout.flush()
        except KeyboardInterrupt:
            pass
    sys.stdout.write("\n")
    return text, tokens


def read_terminal() -> str | None:
    """One line from the user; None at the end of input or after Ctrl-C at the prompt."""
    try:
        return input("> " if sys.stdin.isatty() else "")
    except (EOFError, KeyboardInterrupt):
        return None

"""What a person types in a conversation: lines, or several as one message, with what was typed before at hand."""

import atexit
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

QUOTES = '"""'
"""Between these a message has several lines; so it has after a backslash at a line's end."""

HISTORY_LENGTH = 1000

Read = Callable[[str], str | None]
"""The next message, None at the end of input; its argument stands on the line to be changed. Ctrl-C raises."""


def terminal(history: bool = True) -> Read:
    """Reads standard input; in a terminal with line editing and, with `history`, what was typed in earlier sessions."""
    if not sys.stdin.isatty():
        return lambda draft: read_message(lambda prompt: input())
    edit = _editor(history)

    def read(draft: str) -> str | None:
        with edit(draft):
            return read_message(input)

    return read


def read_message(line: Callable[[str], str]) -> str | None:
    """One message from `line`, which is given the prompt to show and raises `EOFError` at the end."""
    try:
        text = line("> ")
    except EOFError:
        return None
    lines = list[str]()
    if text.strip().startswith(QUOTES):
        text = text.strip().removeprefix(QUOTES)
        while not text.endswith(QUOTES):
            lines.append(text)
            try:
                text = line(". ")
            except EOFError:
                return "\n".join(lines)
        return "\n".join([*lines, text.removesuffix(QUOTES)])
    while text.endswith("\\"):
        lines.append(text[:-1])
        try:
            text = line(". ")
        except EOFError:
            return "\n".join(lines)
    return "\n".join([*lines, text])


def history_path() -> Path:
    """Where the lines of a user's earlier sessions lie."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "hanlin" / "chat_history"


def _editor(history: bool) -> Callable[[str], contextlib.AbstractContextManager[None]]:
    """Line editing where Python has it. What it gives puts a draft on the line that is read next."""
    try:
        import readline
    except ImportError:  # a system without it
        return lambda draft: contextlib.nullcontext()
    if history:
        path = history_path()
        with contextlib.suppress(OSError):
            readline.read_history_file(path)
        readline.set_history_length(HISTORY_LENGTH)
        atexit.register(_write_history, path, readline.write_history_file)

    @contextlib.contextmanager
    def edit(draft: str):  # type: ignore[no-untyped-def]
        readline.set_startup_hook((lambda: readline.insert_text(draft)) if draft else None)
        try:
            yield
        finally:
            readline.set_startup_hook(None)

    return edit


def _write_history(path: Path, write: Callable[[Path], None]) -> None:
    """For the user's eyes only; a disk that cannot be written costs the history and nothing else."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        write(path)

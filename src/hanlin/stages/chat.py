"""`hanlin chat`: a conversation in the terminal, streamed; both sides are kept."""

import sys
import time
from collections.abc import Iterator
from contextlib import closing

from hanlin.base.errors import HanlinError
from hanlin.base.interrupt import interruptible
from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.generate.generation import Piece
from hanlin.stages.chat_commands import Next, run_command
from hanlin.stages.chat_input import Read
from hanlin.stages.chat_session import Session


def run_chat(session: Session, read: Read) -> None:
    """Answer what `read` gives until it gives None, or raises `KeyboardInterrupt` twice without a message between."""
    model = session.model
    _tell(Text(f"{model.name}, engine {model.engine_name}: {model.engine_reason.en}. /help lists commands.",
               f"{model.name}，引擎 {model.engine_name}：{model.engine_reason.zh}。/help 列出命令。"))  # fmt: skip
    draft, interrupted = "", False
    while True:
        try:
            line = read(draft)
        except KeyboardInterrupt:
            sys.stdout.write("\n")
            if interrupted:
                return
            interrupted = True
            _tell(Text("(Ctrl-C again to leave)", "（再按一次 Ctrl-C 退出）"))
            continue
        if line is None:
            return
        draft, interrupted, line = "", False, line.strip()
        try:
            after = _next(session, line)
            draft = after.draft
            if after.leave:
                return
            if after.say:
                _turn(session, after.say, after.drawn)
        except HanlinError as error:
            console.print(str(error), style="red", markup=False, soft_wrap=True)


def _next(session: Session, line: str) -> Next:
    if line.startswith("//"):
        return Next(say=line[1:])
    return run_command(session, line) if line.startswith("/") else Next(say=line)


def _turn(session: Session, text: str, drawn: int) -> None:
    """One exchange. Raises what the model says to the question, which then is not kept."""
    start = time.perf_counter()
    request, pieces = session.ask(text, drawn)
    dropped = request.prompt.dropped_turns
    if dropped:
        _tell(
            Text(
                f"({dropped} old turns no longer fit the window)",
                f"（窗口已放不下，略去 {dropped} 条旧消息）",
            )
        )
    answer, last, stopped = _print_stream(pieces)
    if last is None or (stopped and not answer):
        _tell(Text("(stopped; nothing is kept)", "（已停止，未保留）"))
        return
    generation = last.generation
    session.keep(text, answer, generation)
    speed = generation.new_tokens / max(1e-9, time.perf_counter() - start)
    _tell(Text(f"[{generation.new_tokens} tokens, {speed:.0f}/s{_ending(last, stopped).en}]",
               f"[{generation.new_tokens} 个词元，每秒 {speed:.0f} 个{_ending(last, stopped).zh}]"))  # fmt: skip


def _ending(last: Piece, stopped: bool) -> Text:
    """Why an answer ended, if not by itself."""
    if stopped:
        return Text(", stopped", "，已停止")
    if last.finish_reason == "length":
        if last.generation.new_tokens >= last.generation.parameters.max_new_tokens:
            return Text(", cut at max_new_tokens", "，在 max_new_tokens 处截断")
        return Text(", cut where the window is full", "，窗口已满而截断")
    return Text("", "")


def _print_stream(pieces: Iterator[Piece]) -> tuple[str, Piece | None, bool]:
    """Write pieces as they come; the text, the last piece, and whether Ctrl-C stopped it there."""
    text, last, stopped = "", None, False
    with closing(pieces), interruptible(quiet=True) as interrupt:  # type: ignore[type-var]
        try:
            for last in pieces:
                text += last.text
                sys.stdout.write(last.text)
                sys.stdout.flush()
                if interrupt.requested and last.finish_reason is None:
                    stopped = True
                    break
        except KeyboardInterrupt:  # twice, in the middle of a step
            stopped = True
    sys.stdout.write("\n")
    return text, last, stopped


def _tell(text: Text) -> None:
    console.print(str(text), style="dim", markup=False, soft_wrap=True)

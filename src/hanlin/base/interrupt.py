"""Ctrl-C and SIGTERM that wait for a safe point."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from hanlin.base.language import Text
from hanlin.base.progress import console


class Interrupted(KeyboardInterrupt):
    """The user stopped the work; everything is saved, and the user has been told how to go on."""


class Interrupt:
    """Whether someone has asked the work to stop."""

    def __init__(self, quiet: bool = False) -> None:
        self.requested, self._quiet = False, quiet

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note the first request; a second one stops at once."""
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        if self._quiet:
            return
        console.print(
            str(
                Text(
                    "Stopping after this step (again to stop at once) ...",
                    "完成这一步后停止（再按一次立即停止）……",
                )
            )
        )


@contextlib.contextmanager
def interruptible(quiet: bool = False) -> Iterator[Interrupt]:
    """Within this context SIGINT and SIGTERM set `requested` instead of killing (main thread only).

    quiet: SIGINT only, and nothing is said.
    """
    interrupt = Interrupt(quiet)
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    numbers = (signal.SIGINT,) if quiet else (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, interrupt.handle) for number in numbers}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

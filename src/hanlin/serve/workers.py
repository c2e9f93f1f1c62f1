"""Several processes behind one port, each with an engine of its own; one that dies is started again.

All accept from one socket that is bound before: connections that wait for a worker outlive it.
"""

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any

from hanlin.base.errors import HanlinError
from hanlin.base.language import Text
from hanlin.base.progress import console

Work = Callable[[int, socket.socket], None]
"""What a worker does, by its number: it can be pickled."""

_SOON = 5.0
"""Seconds: a worker that lived shorter is started again only after as long."""


def supervise(count: int, work: Work, listener: socket.socket) -> int:
    """Run `count` workers until SIGINT or SIGTERM, which they get too; SIGHUP is passed on to each.

    The exit code: 0, or that of a worker which ended with a user's mistake (2), after which the others are stopped.
    """
    crew = _Crew(work, listener)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, crew.stop)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, crew.reload)
    for index in range(count):
        crew.begin(index)
    while crew.workers:
        ready = wait([process.sentinel for process, _ in crew.workers.values()], timeout=1.0)
        for index, (process, began) in list(crew.workers.items()):
            if process.sentinel in ready:
                crew.ended(index, process, began)
    return crew.code


class _Crew:
    def __init__(self, work: Work, listener: socket.socket) -> None:
        self.workers: dict[int, tuple[SpawnProcess, float]] = {}
        self.code = 0
        self._work, self._listener = work, listener
        self._stopping = False

    def begin(self, index: int) -> None:
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_run, args=(self._work, index, self._listener))
        process.start()
        self.workers[index] = (process, time.monotonic())

    def ended(self, index: int, process: SpawnProcess, began: float) -> None:
        process.join()
        del self.workers[index]
        if self._stopping:
            return
        if process.exitcode == HanlinError.exit_code:
            self.code = process.exitcode
            self.stop()
            return
        _say(index, process)
        while not self._stopping and time.monotonic() - began < _SOON:
            time.sleep(0.1)
        if not self._stopping:
            self.begin(index)

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        self._stopping = True
        for process, _ in list(self.workers.values()):
            process.terminate()

    def reload(self, number: int, frame: FrameType | None) -> None:
        for process, _ in list(self.workers.values()):
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, signal.SIGHUP)


def _say(index: int, process: SpawnProcess) -> None:
    code = process.exitcode
    console.print(
        str(
            Text(
                f"Worker {index} ended ({code}) and is started again.",
                f"工作进程 {index} 已结束（{code}），正在重新启动。",
            )
        )
    )


def _run(work: Work, index: int, listener: socket.socket) -> Any:
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(index, listener)
    except HanlinError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)


def _end_with_parent() -> None:
    """A worker whose supervisor was killed ends as if it had been told."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)

"""Worker processes that do one job after another, each by itself: what kills one does not end the work."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Generic, TypeVar

import torch

from hanlin.base.interrupt import Interrupt, Interrupted, interruptible

Job = TypeVar("Job")
Result = TypeVar("Result")

_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Died:
    """A worker ended in the middle of its job: by which signal, or with which code."""

    how: str


class _Worker(Generic[Job, Result]):
    """One process, and the job that it has."""

    def __init__(self, work: Callable[[Job], Result], threads: int) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(theirs, work, threads))
        self.process.start()
        theirs.close()
        self.job: Job | None = None

    def give(self, job: Job) -> None:
        self.job = job
        self.pipe.send(job)

    def take(self) -> tuple[Job, Result | Died]:
        """The job and its result, once there is one or the process has ended."""
        job, self.job = self.job, None
        assert job is not None
        try:
            return job, self.pipe.recv()
        except EOFError:
            self.process.join()
            code = self.process.exitcode or 0
            return job, Died(signal.Signals(-code).name if code < 0 else f"exit code {code}")

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def work_through(
    work: Callable[[Job], Result], jobs: Iterator[Job], processes: int
) -> Iterator[tuple[Job, Result | Died]]:
    """Yield each job with its result, or with how its process died, as they end; `work` can be pickled.

    A job is drawn when a process is free for it, after the results before have been taken. The processes share the
    threads of this one. At Ctrl-C or SIGTERM they get SIGTERM, may finish what they are at, and `Interrupted` is raised.
    No process outlives this generator, nor the process that it runs in.
    """
    threads = max(1, torch.get_num_threads() // processes)
    workers: list[_Worker[Job, Result]] = []
    with interruptible() as interrupt:
        try:
            while True:
                _employ(workers, work, jobs, processes, threads)
                busy = [worker for worker in workers if worker.job is not None]
                if not busy:
                    return
                for worker in _ready(busy, interrupt):
                    outcome = worker.take()
                    if isinstance(outcome[1], Died):
                        workers.remove(worker)
                        worker.end()
                    yield outcome
        finally:
            for worker in workers:
                worker.end()


def _employ(
    workers: list[_Worker[Job, Result]],
    work: Callable[[Job], Result],
    jobs: Iterator[Job],
    processes: int,
    threads: int,
) -> None:
    """Give a job to every free process, and begin a process where there are too few."""
    free = [worker for worker in workers if worker.job is None]
    while free or len(workers) < processes:
        job = next(jobs, None)
        if job is None:
            return
        if not free:
            free.append(_Worker(work, threads))
            workers.append(free[-1])
        free.pop().give(job)


def _ready(busy: list[_Worker[Job, Result]], interrupt: Interrupt) -> list[_Worker[Job, Result]]:
    """Wait until some have a result or have ended; raise `Interrupted` once all have ended if that is asked for."""
    while not interrupt.requested:
        ready = connection.wait([worker.pipe for worker in busy], _LOOK_SECONDS)
        if ready:
            return [worker for worker in busy if worker.pipe in ready]
    for worker in busy:
        worker.process.terminate()
    for worker in busy:
        worker.process.join()
    raise Interrupted


def _serve(pipe: Connection, work: Callable[[Job], Result], threads: int) -> None:
    """What runs in each process."""
    os.setsid()  # Ctrl-C in a terminal reaches the parent alone, which passes it on once
    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(work(job))
        except KeyboardInterrupt:
            raise SystemExit(130) from None


def end_with_parent() -> None:
    """Wait until the process that began this one has ended, however it did, and send SIGTERM to this one."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)

"""Training runs in processes of their own that take turns: one trains while the others wait.

Each has the memory of its process to itself, with whatever it sets there, and all see the machine at the same times.
"""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from hanlin.base.device import choose_compute, measure_peak_flops

THREADS = 2


class Pace:
    """What a training run asks before its first step and after each: whether to go on."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe, self.left, self.start = pipe, 0, 0.0

    def step(self, loss: float | None = None) -> None:
        """Wait here for the next round when this one is over. loss: of the step that was made."""
        self.left -= 1
        if self.left > 0:
            return
        seconds = time.perf_counter() - self.start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self.pipe.send((seconds, loss, peak))
        try:
            self.left = self.pipe.recv()
        except EOFError:  # whoever asked is gone
            self.left = 0
        if self.left == 0:
            raise SystemExit
        self.start = time.perf_counter()


def _work(pipe: Connection, run: Callable[..., None], given: tuple[Any, ...]) -> None:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    run(Pace(pipe), *given)


class Worker:
    """One training run: `run(pace, *given)` in a process of its own, which begins to wait once it is set up."""

    def __init__(self, name: str, run: Callable[..., None], *given: Any) -> None:
        self.name, self.seconds = name, list[float]()
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(target=_work, args=(theirs, run, given))
        self.process.start()
        theirs.close()
        self.pipe.recv()

    def round(self, steps: int) -> float:
        """Seconds a step."""
        self.pipe.send(steps)
        seconds, self.loss, self.peak = self.pipe.recv()
        return float(seconds) / steps

    def stop(self) -> None:
        """End the run."""
        self.pipe.send(0)
        self.process.join()


def race(workers: list[Worker], steps: int, rounds: int, warmup: int = 3) -> list[float]:
    """Let all train in turn; the rate of float32 matrix products in each round. `seconds` of each worker is filled."""
    for worker in workers:
        first = worker.round(1)
        print(f"  {worker.name:<22} first step {first:6.1f} s, loss {worker.loss:.3f}", flush=True)
        worker.round(warmup)
    torch.set_num_threads(THREADS)
    rates = []
    for _ in range(rounds):
        rates.append(measure_peak_flops(choose_compute("cpu"), 0.2))
        for worker in workers:
            worker.seconds.append(worker.round(steps))
    return rates


def three(values: list[float], form: str = ".2f") -> str:
    """min / median / max."""
    return " / ".join(format(value, form) for value in (min(values), statistics.median(values), max(values)))


def ratios(peer: Worker, ours: Worker) -> list[float]:
    """How many times as fast as the peer, round by round."""
    return [theirs / mine for theirs, mine in zip(peer.seconds, ours.seconds, strict=True)]

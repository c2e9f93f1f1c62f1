"""Engines in processes of their own, perhaps of another Python, that are asked in turn: one works while others wait.

Standard library only: both sides import it.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


class Worker:
    """One engine with one file open."""

    def __init__(
        self, name: str, script: str, file: Path, threads: int, *options: str, python: str = sys.executable
    ) -> None:
        """script: one beside this file, which calls `answer`. `seconds_to_first`: from the start of the process to
        its first token."""
        self.name = name
        source = str(HERE.parent / "src")
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        if python == sys.executable:
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
        start = time.perf_counter()
        self._process = subprocess.Popen(
            [python, str(HERE / script), str(file), str(threads), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._read()
        self.seconds_to_first = time.perf_counter() - start

    def ask(self, task: str, **arguments: Any) -> Any:
        """What the worker answers to a task."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"task": task, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended")
        return json.loads(line)

    def stop(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def answer(tasks: dict[str, Callable[..., Any]], first: Callable[[], Any]) -> None:
    """Be a worker: make a first token, say so, then do what is asked until nobody asks any more."""
    first()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        task = asked.pop("task")
        told = peak_bytes() if task == "peak" else tasks[task](**asked)
        print(json.dumps(told), flush=True)


def peak_bytes() -> int:
    """The most memory that this process has had."""
    # Not of getrusage: its peak is inherited from the process that started this one.
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def three(values: Sequence[float], form: str = ",.0f") -> str:
    """min / median / max."""
    return " / ".join(format(value, form) for value in (min(values), statistics.median(values), max(values)))


def print_ratio(title: str, ours: Sequence[float], peer: Sequence[float], form: str = ",.0f") -> None:
    """One line: both, and how many times as much ours is, round by round."""
    ratios = [a / b for a, b in zip(ours, peer, strict=True)]
    print(
        f"  {title:<22} {three(ours, form):>20}  against {three(peer, form):>20}: {three(ratios, '.2f')} times",
        flush=True,
    )

"""Where metrics of a run go: the console, a JSONL file that is the record of truth, TensorBoard."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from hanlin.base.errors import MissingExtra
from hanlin.base.files import disk_errors, write_text
from hanlin.base.language import Text
from hanlin.base.progress import console

Metrics = Mapping[str, float | int | str]


class MetricSink(Protocol):
    """Takes the metrics of one step."""

    def write(self, step: int, metrics: Metrics) -> None:
        """Take the metrics of `step`."""

    def close(self) -> None:
        """Finish writing."""


class ConsoleSink:
    """Prints one line a step to standard error; the norms of a network's parts are for files."""

    def write(self, step: int, metrics: Metrics) -> None:
        """Print the metrics of `step`."""
        shown = {name: value for name, value in metrics.items() if not name.startswith("gradient_norm.")}
        values = "  ".join(f"{name} {_short(value)}" for name, value in shown.items())
        console.print(f"[dim]step {step:>6}[/]  {values}", soft_wrap=True)

    def close(self) -> None:
        """Nothing to finish."""


class JsonlSink:
    """Appends one JSON object a step; a resumed run first drops the lines after its starting step."""

    def __init__(self, path: Path, resume_step: int) -> None:
        kept = [line for line in _complete_lines(path) if json.loads(line)["step"] <= resume_step]
        write_text(path, "".join(f"{line}\n" for line in kept))
        self._path = path
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed in close()

    def write(self, step: int, metrics: Metrics) -> None:
        """Append the metrics of `step`; raise `DiskError` when the disk is full."""
        with disk_errors(self._path):
            self._file.write(json.dumps({"step": step, **metrics}, ensure_ascii=False) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoardSink:
    """Writes event files that TensorBoard opens (extra `tensorboard`)."""

    def __init__(self, folder: Path, resume_step: int) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise MissingExtra(
                Text("Writing TensorBoard files", "写 TensorBoard 文件"), "tensorboard"
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=resume_step + 1)

    def write(self, step: int, metrics: Metrics) -> None:
        """Write every number among the metrics of `step`."""
        for name, value in metrics.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(name, value, step)

    def write_text(self, step: int, name: str, text: str) -> None:
        """Write a text of `step` for people to read."""
        self._writer.add_text(name, text, step)

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines that `JsonlSink` wrote, but a last one that a kill left half-written."""
    return [json.loads(line) for line in _complete_lines(path)]


def _complete_lines(path: Path) -> list[str]:
    """The lines of a JSONL file but a last one that a kill left half-written."""
    if not path.exists():
        return []
    text = path.read_text("utf-8", errors="replace")
    return text.split("\n")[:-1]


def _short(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

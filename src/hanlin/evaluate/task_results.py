"""What the examination of a task found: `results.json`, with one line a record in `predictions.jsonl` beside it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field

from hanlin.base.errors import CheckpointError
from hanlin.base.files import atomic_file, write_text
from hanlin.base.language import Text
from hanlin.base.records import Record
from hanlin.evaluate.calibration import Bin
from hanlin.evaluate.figures import Difference, Figure

RESULTS, PREDICTIONS, PAGE = "results.json", "predictions.jsonl", "report.html"
"""The files of an examination."""


class Confusion(Record):
    """How often each class was said of each: `counts[true][said]`, in the order of `labels`."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


class SliceFigure(Record):
    """The main figure on the records that have something in common: `by` length, script, answer; `name` which."""

    by: str
    name: str
    figure: Figure


class Wrong(Record):
    """A record whose prediction is not its answer, in words."""

    place: str
    inputs: tuple[str, ...]
    answer: str | None
    said: str
    wrongness: float


class Baseline(Record):
    """What a simple model reaches on the same records, learned from the same. parameters: numbers that it learned."""

    name: str
    figures: tuple[Figure, ...]
    seconds: float
    parameters: int = 0


class ClassFigures(Record):
    """How well one class was told from the others."""

    label: str
    f1: Figure
    precision: Figure
    recall: Figure


class Robustness(Record):
    """The main figure on the records that a change of their texts touches, before and after it, and the change.

    flipped: share of these records whose prediction is another one.
    """

    name: str
    title: Text
    clean: Figure
    perturbed: Figure
    difference: Difference
    flipped: float


class Elsewhere(Record):
    """The figures on records of the same task from other files. low, high: the 95 % interval of the main figure there
    minus that at home; the records are not the same, so it is not paired."""

    files: dict[str, str]
    n: int
    figures: tuple[Figure, ...]
    difference: float
    low: float | None
    high: float | None


class Forgetting(Record):
    """Bits per byte of texts that have nothing to do with the task, by the parent model and by what was learned from it.

    masked: each token was hidden in turn and both sides of it seen. low, high: the 95 % interval of after minus before.
    """

    name: Text
    documents: int
    bytes: int
    before: float
    after: float
    low: float | None
    high: float | None
    masked: bool = False


class TaskExamination(Record):
    """All that was found. `task` are the settings of the task, from which predictions can be measured again.

        files: fingerprint of each file that records came from. unanswered: records left out because nobody knows their
        answer; cut: those that were too long to be read whole. notes: what else is to be known of the data. scripts: records by
    what most of their letters are; lengths: the shortest, the median and the longest of their inputs, in characters.
    """

    kind: str
    method: str
    task: dict[str, Any]
    model: str
    fingerprint: str = ""
    files: dict[str, str] = Field(default_factory=dict)
    n: int
    skipped: int = 0
    unanswered: int = 0
    cut: int = 0
    notes: tuple[Text, ...] = ()
    scripts: dict[str, int] = Field(default_factory=dict)
    lengths: tuple[int, int, int] = (0, 0, 0)
    figures: tuple[Figure, ...]
    confusion: Confusion | None = None
    classes: tuple[ClassFigures, ...] = ()
    reliability: tuple[Bin, ...] = ()
    slices: tuple[SliceFigure, ...] = ()
    worst: tuple[Wrong, ...] = ()
    wrong: int = 0
    """Records whose prediction is not their answer; `worst` are the first of them."""
    baselines: tuple[Baseline, ...] = ()
    robustness: tuple[Robustness, ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()
    forgetting: tuple[Forgetting, ...] = ()
    seconds: float = Field(ge=0)
    """Wall time of predicting."""

    @property
    def main(self) -> Figure:
        """The figure that models are chosen and compared by."""
        return self.figures[0]

    @property
    def rows_per_second(self) -> float:
        """Records predicted a second."""
        return self.n / self.seconds if self.seconds else 0.0


class PredictionLine(Record):
    """One record with what was said of it; from `record` and `prediction` everything can be measured again."""

    place: str
    record: dict[str, Any]
    prediction: dict[str, Any]
    wrongness: float


def write_task_results(folder: Path, examination: TaskExamination, lines: Iterable[PredictionLine]) -> None:
    """Write `results.json` and `predictions.jsonl` into a folder, each whole or not at all."""
    write_text(folder / RESULTS, examination.model_dump_json(indent=1) + "\n")
    with atomic_file(folder / PREDICTIONS) as file:
        file.writelines(line.model_dump_json() + "\n" for line in lines)


def read_task_results(folder: Path) -> tuple[TaskExamination, list[PredictionLine]]:
    """What `write_task_results` wrote. Raises `CheckpointError` naming the file that is missing or damaged."""
    with _reading(folder / RESULTS) as path:
        examination = TaskExamination.model_validate_json(path.read_text("utf-8"))
    with _reading(folder / PREDICTIONS) as path, path.open(encoding="utf-8", newline="\n") as file:
        return examination, [PredictionLine.model_validate_json(line) for line in file]


@contextmanager
def _reading(path: Path) -> Iterator[Path]:
    try:
        yield path
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            Text(f"{path} is missing or damaged: {reason}", f"{path} 不存在或已损坏：{reason}"),
            Text("Restore it from a copy, or examine the model again.", "请从备份恢复，或重新评测该模型。"),
        ) from error

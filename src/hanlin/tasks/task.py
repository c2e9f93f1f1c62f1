"""`Task`: one kind of use of a language model, from its records to predictions and figures.

A task is its own settings: they stand under `task:` in a recipe and in the `task.json` of what was fine-tuned, with what
the training records said (the names of the labels) filled in. Each kind is one file of this room, and `kinds.py` is the
list of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import Field

from hanlin.base.config import Settings
from hanlin.base.records import Record, TaskRecord
from hanlin.batches.labels import Places
from hanlin.batches.loader import Examples
from hanlin.evaluate.measure import Floats, Measure
from hanlin.objective.term import Objective
from hanlin.tasks.opened import Opened

Method = Literal["full", "lora", "prompt-tuning", "verbalizer", "zero-shot", "few-shot"]
"""full: all weights are trained. lora: low-rank changes, and the new head. prompt-tuning: a soft prompt alone. verbalizer:
all weights, through a template and the words of the classes. zero-shot: nothing is trained; few-shot: nor here, and some
training records stand in the prompt."""

UNTRAINED: tuple[Method, ...] = ("zero-shot", "few-shot")

RecordT = TypeVar("RecordT", bound=TaskRecord)
PredictionT = TypeVar("PredictionT", bound=Record)


class Task(Settings, ABC, Generic[RecordT, PredictionT]):
    """What every kind of task can do; `begun` first, the rest after it."""

    method: Method = "full"
    """How the model learns the task."""
    max_tokens: int | None = Field(None, ge=8)
    """Longest input; longer ones are cut and counted. Default: the model's window."""

    record: ClassVar[type[TaskRecord]]
    """What it reads."""
    prediction: ClassVar[type[Record]]
    """What it says of each record; its fields become columns, and the schema of the HTTP route."""
    methods: ClassVar[tuple[Method, ...]]
    """The methods that it can be done by."""
    chosen_by: ClassVar[tuple[str, Literal["lower", "higher"]]] = ("valid_loss", "lower")
    """The value of validation (`Objective.examine`) by which the best step is chosen, and whether lower ones are better."""

    @abstractmethod
    def begun(self, records: Sequence[RecordT], places: Places = None) -> Self:
        """The task with what the training records say filled in, such as the names of labels.

        Raises `DataError`, naming the record, for training records that cannot be learned from.
        """

    @abstractmethod
    def head(self) -> dict[str, Any]:
        """The settings of the model's head (`CoreConfig`); empty: as the model has it."""

    @abstractmethod
    def examples(self, opened: Opened, records: Sequence[RecordT], places: Places = None) -> Examples:
        """Training or validation records as rows. Raises `DataError` for a record that does not fit (an unknown label)."""

    @abstractmethod
    def objective(self, records: Sequence[RecordT]) -> Objective:
        """What training minimises; of the training records come weights of classes and the like."""

    @abstractmethod
    def predict(self, opened: Opened, records: Sequence[RecordT], title: str = "") -> list[PredictionT]:
        """One prediction a record, in their order, whether answers are known or not; with a `title`, progress is shown."""

    @abstractmethod
    def measures(self, records: Sequence[RecordT], predictions: Sequence[PredictionT]) -> tuple[Measure, ...]:
        """Figures of records whose answers are known; the first is the one that models are chosen and compared by."""

    @abstractmethod
    def wrongness(self, records: Sequence[RecordT], predictions: Sequence[PredictionT]) -> Floats:
        """How wrong each prediction is, (N,) float64, 0 for a right one: worst ones are shown first."""

    def check_answers(self, records: Sequence[RecordT], places: Places = None) -> None:
        """Raise `DataError`, naming the record, for an answer that the task does not know, such as another label."""

    def said(self, prediction: PredictionT) -> str:
        """A prediction for people to read, in the form of `TaskRecord.answer`."""
        return " ".join(str(value) for value in prediction.model_dump().values())

    def texts(self, records: Sequence[RecordT]) -> Iterator[str]:
        """All that is read and written, as the model sees it: what the tokenizer of a new model is trained on."""
        for record in records:
            yield from (*record.inputs, *([] if record.answer is None else [record.answer]))

    def suited(self, folder: Path) -> Self:
        """The task with what the folder of its model says filled in, such as how vectors are made; for most, itself."""
        return self

    def calibrated(self, opened: Opened, records: Sequence[RecordT]) -> Self:
        """The task whose probabilities mean what they say on these records, which it was not trained on; for most, itself."""
        return self

    def files(self, opened: Opened) -> dict[str, str]:
        """Further files for the folder of what was learned, by their place in it."""
        return {}

    @property
    def is_trained(self) -> bool:
        """Whether the method changes any weight."""
        return self.method not in UNTRAINED


AnyRecordTask = Task[Any, Any]
"""A task of whatever kind."""

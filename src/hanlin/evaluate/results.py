"""What an examination found, as it stands in `results.json`."""

from pathlib import Path

from pydantic import Field

from hanlin.base.files import write_text
from hanlin.base.records import Record, Split


class Interval(Record):
    """A 95 % confidence interval."""

    low: float
    high: float


class Figures(Record):
    """What one model reached. Intervals are None where there is only one document."""

    bits_per_byte: float
    bits_per_byte_interval: Interval | None
    bits_per_character: float
    perplexity: float
    """Of a token; compares only models with the same tokenizer."""
    seconds: float = Field(ge=0)
    """Wall time of scoring."""


class Difference(Record):
    """Bits per byte of `first` minus `second` on the same documents; below zero, `first` is better."""

    first: str
    second: str
    bits_per_byte: float
    interval: Interval | None

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out zero: the difference is more than chance."""
        return self.interval is not None and self.interval.low * self.interval.high > 0


class Sample(Record):
    """A beginning and what the model made of it."""

    prompt: str
    continuation: str
    finish_reason: str = ""


class Examination(Record):
    """How models did on one split. The ends of documents count as tokens, not as bytes or characters."""

    split: Split
    documents: int
    """Documents examined."""
    documents_in_split: int
    """Documents that the split has; more than `documents` if a cap cut some off."""
    tokens: int
    bytes: int
    characters: int
    ngram_order: int
    ngram_tokens: int
    """Tokens that the n-gram model counted."""
    ngram_tokens_in_split: int
    """Tokens that it could have counted; more than `ngram_tokens` if the cap cut some off."""
    ngram_seconds: float
    """Wall time of counting and smoothing."""
    models: dict[str, Figures]
    differences: tuple[Difference, ...]


class Figure(Record):
    """A measured value. The interval is None where there is too little to tell."""

    value: float
    interval: Interval | None


class ObjectiveFigures(Record):
    """What a model reached by one objective on one split."""

    rows: int
    """Rows examined."""
    rows_in_split: int
    """Rows that the split has; more than `rows` if a cap cut some off."""
    figures: dict[str, Figure]


class ObjectiveExamination(Record):
    """How a model that is no causal language model did by its own objectives."""

    split: Split
    uniform_loss: float
    """The loss of a model to which all tokens are alike: ln V."""
    objectives: dict[str, ObjectiveFigures]


def write_results(path: Path, examination: Examination | ObjectiveExamination) -> None:
    """Write `results.json`, whole or not at all."""
    write_text(path, examination.model_dump_json(indent=1) + "\n")


def read_results(path: Path) -> Examination:
    """Read what `write_results` wrote."""
    return Examination.model_validate_json(path.read_text("utf-8"))


def read_objective_results(path: Path) -> ObjectiveExamination:
    """Read what `write_results` wrote of a model that is no causal language model."""
    return ObjectiveExamination.model_validate_json(path.read_text("utf-8"))

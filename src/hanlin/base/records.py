"""Records that cross stages, as they stand in JSONL and Parquet."""

from abc import ABC, abstractmethod
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")


class Record(BaseModel):
    """A frozen record; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Document(Record):
    """One text with where it came from.

    `id` is a digest of the original text, `source` names file or origin, `language` is an ISO 639-1 code
    ("" while unknown), `licence` is what the source states ("" if it states none).
    """

    id: str
    text: str
    source: str
    language: str = ""
    licence: str = ""
    split: Split = "train"


class Message(Record):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str

    def for_template(self) -> dict[str, Any]:
        """What a chat template is told of it."""
        return {"role": self.role, "content": self.content}


class Turn(Message):
    """A message of a conversation that is learned from; `learn` says whether an answer of the assistant is."""

    learn: bool = True


class TaskRecord(Record, ABC):
    """A record of a task: what is given, and the answer if it is known."""

    @property
    @abstractmethod
    def inputs(self) -> tuple[str, ...]:
        """The texts that are given, in order: what a model reads."""

    @property
    @abstractmethod
    def answer(self) -> str | None:
        """What is to be found, for people to read and to tell contradictions by; None: not known."""


class Labelled(TaskRecord):
    """A text, or two, with one class or with several labels."""

    text: str
    pair: str | None = None
    labels: tuple[str, ...] | None = None
    """None: not known; empty: none of several labels."""

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.text,) if self.pair is None else (self.text, self.pair)

    @property
    def answer(self) -> str | None:
        return None if self.labels is None else ", ".join(self.labels)


class Scored(TaskRecord):
    """A text, or two, with a number: likeness, grade, value."""

    text: str
    pair: str | None = None
    score: float | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.text,) if self.pair is None else (self.text, self.pair)

    @property
    def answer(self) -> str | None:
        return None if self.score is None else f"{self.score:g}"


class TaggedWords(TaskRecord):
    """Words with a tag each."""

    words: tuple[str, ...]
    tags: tuple[str, ...] | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        return (" ".join(self.words),)

    @property
    def answer(self) -> str | None:
        return None if self.tags is None else " ".join(self.tags)


class Span(Record):
    """Characters `start` to `stop` - 1 of a text, and of what kind they are."""

    start: int
    stop: int
    kind: str


class Relation(Record):
    """What holds between two stretches of a text; `subject_span` and `object_span` say where, if that is known."""

    subject: str
    relation: str
    object: str
    subject_span: tuple[int, int] | None = None
    object_span: tuple[int, int] | None = None


class Extracted(TaskRecord):
    """A text with the spans that are to be found in it, and the relations between some. None: not known."""

    text: str
    spans: tuple[Span, ...] | None = None
    relations: tuple[Relation, ...] | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.text,)

    @property
    def answer(self) -> str | None:
        if self.spans is None and self.relations is None:
            return None
        spans = [f"{span.kind}: {self.text[span.start : span.stop]}" for span in self.spans or ()]
        return "; ".join(
            [*spans, *(f"{one.subject} | {one.relation} | {one.object}" for one in self.relations or ())]
        )


class Question(TaskRecord):
    """A question, perhaps about a context, perhaps with choices; all answers that count as right.

    starts: where each answer begins in the context, if it does. right: the number of the right choice. No answers at all,
    (), say that the context does not tell.
    """

    question: str
    context: str | None = None
    answers: tuple[str, ...] | None = None
    starts: tuple[int, ...] | None = None
    choices: tuple[str, ...] = ()
    right: int | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.question,) if self.context is None else (self.question, self.context)

    @property
    def answer(self) -> str | None:
        if self.right is not None:
            return self.choices[self.right]
        return None if self.answers is None else " / ".join(dict.fromkeys(self.answers))


class Written(TaskRecord):
    """A text and what is to be written of it: a translation, a summary, another wording; every target counts as right.

    control: what is asked for beside, by name, such as {"style": "formal"}.
    """

    source: str
    targets: tuple[str, ...] | None = None
    control: dict[str, str] = {}

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.source,)

    @property
    def answer(self) -> str | None:
        return None if self.targets is None else " / ".join(self.targets)


class Matched(TaskRecord):
    """A text that searches, those that it is to find, and those that look like it but are not to be found."""

    query: str
    found: tuple[str, ...] = ()
    hard_negatives: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.query, *self.found)

    @property
    def answer(self) -> str | None:
        return None


class Dialogue(TaskRecord):
    """A conversation to learn from."""

    messages: tuple[Turn, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(turn.content for turn in self.messages if turn.role != "assistant")

    @property
    def answer(self) -> str | None:
        said = [turn.content for turn in self.messages if turn.role == "assistant"]
        return "\n".join(said) if said else None

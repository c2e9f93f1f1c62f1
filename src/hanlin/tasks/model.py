"""`TaskModel`, what `hanlin.load_task` returns: a model with the task that it does, asked by the verb that fits.

N texts, C width.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from hanlin.base.config import mistakes
from hanlin.base.errors import RequestError
from hanlin.base.language import Text
from hanlin.base.records import (
    Extracted,
    Labelled,
    Matched,
    Question,
    Record,
    Scored,
    Span,
    TaggedWords,
    TaskRecord,
    Turn,
    Written,
)
from hanlin.generate.embedding import Vectors
from hanlin.tasks.opened import Opened
from hanlin.tasks.task import AnyRecordTask


class Use(NamedTuple):
    """How a kind of task is asked: the methods of `TaskModel` that fit (`predict` fits all); the fields of its record that a
    question must have, and those that it may have. What remains is the answer."""

    verbs: tuple[str, ...]
    needed: tuple[str, ...]
    further: tuple[str, ...] = ()


USES: dict[str, Use] = {
    "classify": Use(("classify",), ("text",), ("pair",)),
    "pair": Use(("classify",), ("text", "pair")),
    "regress": Use(("score",), ("text",), ("pair",)),
    "tag": Use(("tag",), ("words",)),
    "extract": Use(("extract",), ("text",)),
    "extract-json": Use(("extract",), ("text",)),
    "relate": Use(("relate",), ("text", "spans")),
    "answer": Use(("answer",), ("question", "context")),
    "reply": Use(("answer",), ("question",), ("context",)),
    "choice": Use(("choose",), ("question", "choices"), ("context",)),
    "translate": Use(("translate",), ("source",), ("control",)),
    "summarize": Use(("summarize",), ("source",), ("control",)),
    "rewrite": Use(("rewrite",), ("source",), ("control",)),
    "chat": Use(("chat",), ("messages",)),
    "match": Use(("embed", "score", "rank"), ("query",), ("found",)),
    "rerank": Use(("score", "rank"), ("query", "found")),
}
"""Of each kind of task."""

Pair = tuple[str, str]


class RankedText(Record):
    """One of the texts that were to be ordered: its place in the list that was given, and how well it fits."""

    text: str
    number: int
    score: float


class TaskModel:
    """A model with its task. Verbs take one input and give one answer, or take a list and give a list."""

    def __init__(self, name: str, task: AnyRecordTask, opened: Opened) -> None:
        self.name, self.task, self.opened = name, task, opened

    @property
    def kind(self) -> str:
        """The kind of the task."""
        kind: str = getattr(self.task, "kind")  # noqa: B009 - each kind has it, as a literal of its own
        return kind

    def predict(self, records: Sequence[TaskRecord | Mapping[str, Any]], title: str = "") -> list[Any]:
        """What the task says of each record, or of a mapping of its fields; answers that records have are not looked at.

        Raises `RequestError`, naming the number of the record, for one that is malformed or has an empty text.
        """
        read = [self._read(number, record) for number, record in enumerate(records, 1)]
        return self.task.predict(self.opened, read, title) if read else []

    def objection(self, record: TaskRecord) -> Text | None:
        """Why a record cannot be predicted, as what follows its name; None: it can."""
        if not is_filled(record):
            return Text("has an empty text", "有空白文本")
        missing = next((name for name in USES[self.kind].needed if not has(record, name)), None)
        return None if missing is None else Text(f"has no {missing}", f"缺少 {missing}")

    def classify(self, texts: str | Pair | Sequence[str | Pair]) -> Any:
        """The class, or classes, of a text or of a pair of texts, `(text, pair)`."""
        return self._of_each("classify", texts, str | tuple, lambda one: Labelled(**_text_or_pair(one)))

    def score(self, pairs: str | Pair | Sequence[str | Pair]) -> Any:
        """The number of a text or pair; of a model that matches texts, how well the two of a pair belong together."""
        if self.kind == "regress":
            return self._of_each("score", pairs, str | tuple, lambda one: Scored(**_text_or_pair(one)))
        scored = self._of_each("score", pairs, tuple, _compared)
        return scored.scores[0] if isinstance(pairs, tuple) else [one.scores[0] for one in scored]

    def tag(self, texts: str | Sequence[str] | Sequence[Sequence[str]]) -> Any:
        """The tag of each word: of a text, which is cut as `words_of` does, of a list of words, or of several such lists.

        A list of texts is the words of one sentence: several texts are given to `predict`.
        """
        self._check("tag")
        if isinstance(texts, str):
            return self._one(TaggedWords(words=words_of(texts)))
        if all(isinstance(word, str) for word in texts):
            return self._one(TaggedWords(words=tuple(map(str, texts))))
        return self.predict([TaggedWords(words=tuple(words)) for words in texts])

    def extract(self, texts: str | Sequence[str]) -> Any:
        """The spans and relations of a text."""
        return self._of_each("extract", texts, str, lambda one: Extracted(text=one))

    def relate(self, text: str, spans: Sequence[Span]) -> Any:
        """The relations between spans of a text."""
        self._check("relate")
        return self._one(Extracted(text=text, spans=tuple(spans)))

    def answer(self, question: str, context: str | None = None) -> Any:
        """The answer to a question about a context, or to a question alone where the model was taught so."""
        self._check("answer")
        return self._one(Question(question=question, context=context))

    def choose(self, question: str, choices: Sequence[str], context: str | None = None) -> Any:
        """The right one of several answers."""
        self._check("choose")
        return self._one(Question(question=question, context=context, choices=tuple(choices)))

    def translate(self, texts: str | Sequence[str], **control: str) -> Any:
        """The translation of a text. control: what the model was taught to be asked for beside."""
        return self._written("translate", texts, control)

    def summarize(self, texts: str | Sequence[str], **control: str) -> Any:
        """The summary of a text; see `translate`."""
        return self._written("summarize", texts, control)

    def rewrite(self, texts: str | Sequence[str], **control: str) -> Any:
        """Other words for a text; see `translate`."""
        return self._written("rewrite", texts, control)

    def chat(self, messages: Sequence[Mapping[str, str]]) -> Any:
        """The answer to a conversation that ends with a turn of the user."""
        self._check("chat")
        return self.predict([{"messages": [Turn.model_validate(dict(one)) for one in messages]}])[0]

    def embed(self, texts: str | Sequence[str]) -> Vectors:
        """The vectors of texts, (N, C) float32, or of one, (C,)."""
        found = self._of_each("embed", texts, str, lambda one: Matched(query=one))
        vectors = [one.vector for one in ([found] if isinstance(texts, str) else found)]
        vectors_NC = np.array(vectors, np.float32)
        return vectors_NC[0] if isinstance(texts, str) else vectors_NC

    def rank(self, query: str, texts: Sequence[str]) -> list[RankedText]:
        """The texts, those first that fit the query best."""
        self._check("rank")
        if not texts:
            return []
        scores = self._one(Matched(query=query, found=tuple(texts))).scores
        order = sorted(range(len(texts)), key=lambda number: -scores[number])
        return [RankedText(text=texts[number], number=number, score=scores[number]) for number in order]

    def _written(self, verb: str, texts: str | Sequence[str], control: dict[str, str]) -> Any:
        return self._of_each(verb, texts, str, lambda one: Written(source=one, control=control))

    def _of_each(self, verb: str, given: Any, one: Any, record: Callable[[Any], TaskRecord]) -> Any:
        """The prediction of one input, which is of the type `one`, or a list of those of several."""
        self._check(verb)
        return (
            self._one(record(given)) if isinstance(given, one) else self.predict([record(x) for x in given])
        )

    def _one(self, record: TaskRecord) -> Any:
        return self.predict([record])[0]

    def _check(self, verb: str) -> None:
        fitting = USES[self.kind].verbs
        if verb not in fitting:
            raise RequestError(
                Text(f"{self.name} does not {verb}: its task is {self.kind}.", f"{self.name} 不能 {verb}：它的任务是 {self.kind}。"),
                Text(f"Use {', '.join(f'.{name}(...)' for name in fitting)} or .predict(...).",
                     f"请使用 {'、'.join(f'.{name}(...)' for name in fitting)} 或 .predict(...)。"),
            )  # fmt: skip

    def _read(self, number: int, given: TaskRecord | Mapping[str, Any]) -> TaskRecord:
        record = given
        if isinstance(given, Mapping):
            try:
                record = self.task.record.model_validate(dict(given))
            except ValidationError as error:
                reason = mistakes(error)
                raise _wrong(number, Text(f"is malformed: {reason.en}", f"有误：{reason.zh}")) from error
        assert isinstance(record, TaskRecord)
        if not isinstance(record, self.task.record):
            raise _wrong(number, Text(f"is a {type(record).__name__}; this task reads {self.task.record.__name__}",
                                      f"是 {type(record).__name__}，而此任务读取 {self.task.record.__name__}"))  # fmt: skip
        objection = self.objection(record)
        if objection is not None:
            raise _wrong(number, objection)
        return alone(record)


def has(record: TaskRecord, name: str) -> bool:
    """Whether a field of a record says something."""
    if isinstance(record, Matched) and name == "found":
        return bool(record.found or record.hard_negatives)
    return getattr(record, name) not in (None, (), "")


def alone(record: TaskRecord) -> TaskRecord:
    """A record whose prediction hangs on no other record: of texts that are to be found, others' would be added to choose from."""
    if isinstance(record, Matched):
        return Matched(query=record.query, hard_negatives=(*record.found, *record.hard_negatives))
    return record


def is_filled(record: TaskRecord) -> bool:
    """Whether no text of a record is nothing but blanks."""
    if isinstance(record, TaggedWords):
        return bool(record.words)
    return bool(record.inputs) and all(text.strip() for text in record.inputs)


def words_of(text: str) -> tuple[str, ...]:
    """A text as words: cut at white space, and each Chinese character is one."""
    spaced = "".join(
        f" {one} " if "\u3400" <= one <= "\u9fff" or "\u3000" < one <= "\u303f" else one for one in text
    )
    return tuple(spaced.split())


def _text_or_pair(one: str | Pair) -> dict[str, Any]:
    return {"text": one} if isinstance(one, str) else {"text": one[0], "pair": one[1]}


def _compared(pair: Pair) -> Matched:
    return Matched(query=pair[0], found=(pair[1],))


def _wrong(number: int, reason: Text) -> RequestError:
    return RequestError(
        Text(f"Input {number} {reason.en}.", f"第 {number} 个输入{reason.zh}。"),
        Text("Mend it or leave it out.", "请修改或略去它。"),
    )

"""Answers to questions as spans of a context (reading comprehension).

N questions, T tokens of a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field
from torch import Tensor

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.base.records import Question, Record
from hanlin.batches.answer_spans import AnswerRow, AnswerRows, Asked
from hanlin.batches.batch import Batch
from hanlin.batches.labels import Places
from hanlin.batches.ragged import name_record
from hanlin.evaluate.answered import answer_measures
from hanlin.evaluate.measure import Floats, Measure
from hanlin.model.config import CoreConfig
from hanlin.objective.span_answer import SpanAnswer
from hanlin.objective.tagging import token_scores
from hanlin.objective.term import Objective
from hanlin.tasks.opened import Opened
from hanlin.tasks.passes import passed
from hanlin.tasks.task import Method, Task

_ENDS_TRIED = 20
"""The best beginnings and the best ends of a window that are paired (as in the code of arXiv 1810.04805)."""


class OtherAnswer(Record):
    """A further answer that was weighed."""

    text: str
    start: int | None
    probability: float


class Answered(Record):
    """The answer and where it stands in the context; "" and None: the context does not tell.

    probability: among the answers that were weighed, of which `others` are the next best.
    """

    text: str
    start: int | None
    probability: float
    others: tuple[OtherAnswer, ...] = ()


class Answer(Task[Question, Answered]):
    """The stretch of its context that answers a question; a long context is read in windows."""

    kind: Literal["answer"] = "answer"
    overlap: int = Field(128, ge=0)
    """Tokens that neighbouring windows of a long context share."""
    longest: int = Field(40, ge=1)
    """The longest answer, in tokens."""
    best: int = Field(5, ge=1)
    """How many answers a prediction gives."""
    unanswerable: bool | None = None
    """Whether a context may have no answer (SQuAD 2.0); default: if training records have none."""
    threshold: float = Field(0.0, allow_inf_nan=False)
    """That there is no answer is said where its score is above that of the best answer by more than this."""

    record: ClassVar[type[Question]] = Question
    prediction: ClassVar[type[Answered]] = Answered
    methods: ClassVar[tuple[Method, ...]] = ("full", "lora")
    chosen_by: ClassVar[tuple[str, Literal["lower", "higher"]]] = ("valid_accuracy", "higher")

    @classmethod
    def of_model(cls, config: CoreConfig) -> Self:
        """The task of a model that has learned it elsewhere; it is not known whether from questions without an answer."""
        assert config.head == "span"
        return cls()

    def begun(self, records: Sequence[Question], places: Places = None) -> Self:
        for number, record in enumerate(records):
            _asked(record, number, places)
        if self.unanswerable is not None:
            return self
        return self.model_copy(update={"unanswerable": any(record.answers == () for record in records)})

    def head(self) -> dict[str, Any]:
        return {"head": "span"}

    def examples(self, opened: Opened, records: Sequence[Question], places: Places = None) -> AnswerRows:
        asked = [_asked(record, number, places) for number, record in enumerate(records)]
        return AnswerRows(asked, opened.tokenizer, opened.window(self.max_tokens), overlap=self.overlap)

    def objective(self, records: Sequence[Question]) -> Objective:
        return SpanAnswer()

    def predict(self, opened: Opened, records: Sequence[Question], title: str = "") -> list[Answered]:
        asked = [Asked(record.question, record.context or "") for record in records]
        rows = AnswerRows(
            asked, opened.tokenizer, opened.window(self.max_tokens), overlap=self.overlap, layout="padded"
        )
        model = opened.headed

        def judge(batch: Batch) -> Tensor:
            return token_scores(model, batch, "span")

        weighed: list[list[_Weighed]] = [[] for _ in records]
        none_N = np.full(len(records), np.inf)
        for row, scores_T2 in zip(rows.rows, passed(opened, rows, judge, title), strict=True):
            scores = scores_T2.double().numpy()
            weighed[row.number] += self._weighed(row, scores)
            none_N[row.number] = min(none_N[row.number], scores[row.none].sum())
        return [
            self._said(record.context or "", found, float(none))
            for record, found, none in zip(records, weighed, none_N, strict=True)
        ]

    def measures(self, records: Sequence[Question], predictions: Sequence[Answered]) -> tuple[Measure, ...]:
        return answer_measures([one.answers or () for one in records], [one.text for one in predictions])

    def wrongness(self, records: Sequence[Question], predictions: Sequence[Answered]) -> Floats:
        _, f1, *_ = self.measures(records, predictions)
        return np.array([1 - f1.of(np.array([number])) for number in range(len(records))], np.float64)

    def said(self, prediction: Answered) -> str:
        return prediction.text

    def _weighed(self, row: AnswerRow, scores_T2: Floats) -> list["_Weighed"]:
        """The best spans of a window that begin at tokens which no other window sees better."""
        window, begin = row.window, row.begin
        first = begin + window.first - window.start
        starts = first + np.argsort(-scores_T2[first : begin + window.last - window.start, 0])[:_ENDS_TRIED]
        stops = begin + np.argsort(-scores_T2[begin : begin + window.stop - window.start, 1])[:_ENDS_TRIED]
        return [
            _Weighed(
                float(scores_T2[start, 0] + scores_T2[stop, 1]),
                row.offsets[window.start + start - begin][0],
                row.offsets[window.start + stop - begin][1],
            )
            for start in starts.tolist()
            for stop in stops.tolist()
            if start <= stop < start + self.longest
        ]

    def _said(self, context: str, weighed: list["_Weighed"], none: float) -> Answered:
        """The best answers, whose probabilities are the softmax of the scores of all that were weighed."""
        weighed = sorted(weighed, key=lambda one: -one.score)[: max(_ENDS_TRIED, self.best)]
        found = [(one.score, context[one.start : one.stop], one.start) for one in weighed]
        answers: list[tuple[float, str, int | None]] = [*found]
        if self.unanswerable and weighed:
            answers.append((none - self.threshold, "", None))
        answers.sort(key=lambda one: -one[0])
        answers = answers or [(0.0, "", None)]
        chances = np.exp(np.array([score for score, _, _ in answers]) - answers[0][0])
        said = [
            OtherAnswer(text=text, start=start, probability=float(chance))
            for (_, text, start), chance in zip(answers, chances / chances.sum(), strict=True)
        ]
        return Answered(**said[0].model_dump(), others=tuple(said[1 : self.best]))


@dataclass(frozen=True)
class _Weighed:
    """Characters of a context, and how well they would answer."""

    score: float
    start: int
    stop: int


def _asked(record: Question, number: int, places: Places) -> Asked:
    """A training record. Raises `DataError` naming it if it has no context or answer, or the answer is not in the context."""
    if record.context is None or not record.context.strip():
        raise _refused(number, places, "has no context", "没有原文")
    if record.answers is None:
        raise _refused(number, places, "has no answers", "没有答案")
    if not record.answers:
        return Asked(record.question, record.context)
    answer = record.answers[0]
    start = record.starts[0] if record.starts else record.context.find(answer)
    if not answer or start < 0 or record.context[start : start + len(answer)] != answer:
        raise _refused(
            number,
            places,
            f"has the answer {answer!r:.60}, which its context does not have at that place",
            f"的答案 {answer!r:.60} 不在原文的该位置",
        )
    return Asked(record.question, record.context, (start, start + len(answer)))


def _refused(number: int, places: Places, en: str, zh: str) -> DataError:
    where = name_record(number, places)
    return DataError(
        Text(f"Record {where} {en}.", f"记录 {where} {zh}。"),
        Text("Mend it; a question without an answer has an empty list of answers.",
             "请修改；没有答案的问题，其答案应为空列表。"),
    )  # fmt: skip

"""Answers to questions in the model's own words, with or without a context that tells them.

N records.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from hanlin.base.records import Question
from hanlin.evaluate.answered import answer_measures
from hanlin.evaluate.measure import Floats, Measure
from hanlin.tasks.asked import Language
from hanlin.tasks.task import Method
from hanlin.tasks.writing import Continued, Writing

_PROMPTS: dict[Language, str] = {"en": "Question: {question}\nAnswer:", "zh": "问题：{question}\n答案："}


class Reply(Writing[Question]):
    """What the model writes when it is asked. Extractive answers are `answer`, multiple choice is `choice`."""

    kind: Literal["reply"] = "reply"

    record: ClassVar[type[Question]] = Question
    methods: ClassVar[tuple[Method, ...]] = Writing.methods
    cuttable: ClassVar[str] = "context"

    def fields_of(self, record: Question) -> dict[str, str]:
        context = {} if record.context is None else {"context": record.context}
        return {"question": record.question, **context}

    def answers_of(self, record: Question) -> tuple[str, ...]:
        if record.right is not None:
            return (record.choices[record.right],)
        return tuple(dict.fromkeys(record.answers or ()))

    def default_prompt(self, language: Language | None, record: Question) -> str:
        if language is None:
            return "{question}" if record.context is None else "{question} {context}"
        return _PROMPTS[language] if record.context is None else "{context}\n\n" + _PROMPTS[language]

    def measures(self, records: Sequence[Question], predictions: Sequence[Continued]) -> tuple[Measure, ...]:
        return answer_measures([self.answers_of(one) for one in records], [one.text for one in predictions])

    def wrongness(self, records: Sequence[Question], predictions: Sequence[Continued]) -> Floats:
        f1 = next(one for one in self.measures(records, predictions) if one.name.endswith("f1"))
        return 1 - np.array([f1.of(np.array([number])) for number in range(len(records))])

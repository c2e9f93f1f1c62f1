"""Multiple choice by likelihood: the choice that the model finds most natural as the answer. Source: arXiv 2005.14165, section 2.4.

N records, K choices.
"""

from collections.abc import Sequence
from functools import partial
from string import ascii_uppercase
from typing import Any, ClassVar, Literal

import numpy as np

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.base.records import Question, Record
from hanlin.batches.batch import IGNORE
from hanlin.batches.choices import Choices
from hanlin.batches.labels import Places
from hanlin.batches.ragged import name_record
from hanlin.batches.written import shortened
from hanlin.evaluate.measure import Floats, Measure, mean_of
from hanlin.objective.choice import MultipleChoice
from hanlin.objective.term import Objective
from hanlin.tasks.asked import Language, length_in
from hanlin.tasks.opened import Opened
from hanlin.tasks.passes import passed
from hanlin.tasks.prompted import Prompted
from hanlin.tasks.task import Method

_PROMPTS: dict[Language, str] = {"en": "Question: {question}\nAnswer:", "zh": "问题：{question}\n答案："}
_LISTED: dict[Language, str] = {
    "en": "Question: {question}\n{choices}\nAnswer:",
    "zh": "问题：{question}\n{choices}\n答案：",
}
By = Literal["sum", "token", "character"]


class Chosen(Record):
    """The likeliest choice, its number from 0, and how probable it is among the choices.

    log_probabilities: of each choice as the answer, in nats. tokens: of each choice.
    """

    choice: str
    number: int
    probability: float
    log_probabilities: tuple[float, ...]
    tokens: tuple[int, ...]


class Choice(Prompted[Question, Chosen]):
    """Which of the choices is right."""

    kind: Literal["choice"] = "choice"
    chat: bool | None = False
    """Whether the question is a turn of a conversation; null: where the model has a chat template."""
    by: By = "character"
    """What choices are compared by: their log-probability, or that divided by their tokens or characters, so that long
    ones are not behind. Training compares by the sum, or for the others by token."""
    letters: bool = False
    """Whether the prompt lists the choices by letter, and the letter is the answer."""

    record: ClassVar[type[Question]] = Question
    prediction: ClassVar[type[Chosen]] = Chosen
    methods: ClassVar[tuple[Method, ...]] = ("full", "lora", "prompt-tuning", "zero-shot", "few-shot")
    cuttable: ClassVar[str] = "context"

    def fields_of(self, record: Question) -> dict[str, str]:
        fields = {"question": record.question}
        if record.context is not None:
            fields["context"] = record.context
        if self.letters:
            lines = zip(ascii_uppercase, record.choices, strict=False)
            fields["choices"] = "\n".join(f"{letter}. {choice}" for letter, choice in lines)
        return fields

    def answers_of(self, record: Question) -> tuple[str, ...]:
        return () if record.right is None else (self._said_of(record)[record.right],)

    def default_prompt(self, language: Language | None, record: Question) -> str:
        prompt = (_LISTED if self.letters else _PROMPTS)[language or "en"]
        return prompt if record.context is None else "{context}\n\n" + prompt

    def head(self) -> dict[str, Any]:
        return {}

    def examples(self, opened: Opened, records: Sequence[Question], places: Places = None) -> Choices:
        for number, record in enumerate(records):
            if record.right is None:
                name = name_record(number, places)
                raise DataError(
                    Text(
                        f"Record {name} does not say which choice is right.",
                        f"记录 {name} 没有指明正确选项。",
                    ),
                    Text("Add it, or remove the record.", "请补上，或删除该记录。"),
                )
        return self._choices(opened, records, places)

    def objective(self, records: Sequence[Question]) -> Objective:
        return MultipleChoice(normalized=self.by != "sum")

    def predict(self, opened: Opened, records: Sequence[Question], title: str = "") -> list[Chosen]:
        examples, model = self._choices(opened, records, None), opened.headed
        objective = MultipleChoice()
        scores = passed(opened, examples, lambda batch: objective.scores(model, batch), title)
        return [
            self._chosen(record, score_K[: len(record.choices)].double().numpy(), tokens)
            for record, score_K, tokens in zip(records, scores, examples.tokens, strict=True)
        ]

    def measures(self, records: Sequence[Question], predictions: Sequence[Chosen]) -> tuple[Measure, ...]:
        right_N = np.array([-1 if one.right is None else one.right for one in records])
        said_N = np.array([one.number for one in predictions])
        others: tuple[By, ...] = ("sum", "token", "character")
        found = [mean_of("accuracy", (said_N == right_N).astype(np.float64))]
        for by in others:
            if by != self.by:
                pairs = zip(records, predictions, strict=True)
                said_N = np.array(
                    [
                        int(self._scores(one, said.log_probabilities, said.tokens, by).argmax())
                        for one, said in pairs
                    ]
                )
                found.append(mean_of(f"accuracy_by_{by}", (said_N == right_N).astype(np.float64)))
        return tuple(found)

    def wrongness(self, records: Sequence[Question], predictions: Sequence[Chosen]) -> Floats:
        pairs = zip(records, predictions, strict=True)
        return np.array([1 - self._probabilities(one, said)[one.right or 0] for one, said in pairs])

    def said(self, prediction: Chosen) -> str:
        return prediction.choice

    def _choices(self, opened: Opened, records: Sequence[Question], places: Places) -> Choices:
        asking, tokenizer, window = self.asking(opened), opened.tokenizer, opened.window(self.max_tokens)
        prompts, choices, cut = list[list[int]](), list[list[list[int]]](), list[int]()
        for number, record in enumerate(records):
            name = name_record(number, places)
            if len(record.choices) < 2 or not all(choice.strip() for choice in record.choices):
                raise DataError(
                    Text(f"Record {name} has fewer than two choices, or an empty one.", f"记录 {name} 的选项少于两个，或有空选项。"),
                    Text("Give it two or more choices.", "请至少给出两个选项。"),
                )  # fmt: skip
            asked = self.asked(record, opened, name)
            those = [asking.answer_ids(asked.prompt(""), self.cased(one)) for one in self._said_of(record)]
            room = window - max(map(len, those)) + 1
            short = shortened(asked.text, tokenizer, partial(length_in, asking, asked), room)
            if short is None:
                raise asked.no_room(room)
            prompts.append([*opened.prefix, *asking.prompt_ids(asked.prompt(short[0]))])
            choices.append(those)
            cut.append(short[1])
        right = [IGNORE if one.right is None else one.right for one in records]
        return Choices(prompts, choices, right, tokenizer.pad_id, cut)

    def _said_of(self, record: Question) -> tuple[str, ...]:
        """What is judged as the answer, for each choice."""
        return tuple(ascii_uppercase[: len(record.choices)]) if self.letters else record.choices

    def _chosen(self, record: Question, log_p_K: Floats, tokens: Sequence[int]) -> Chosen:
        scores_K = self._scores(record, log_p_K, tokens, self.by)
        best = int(scores_K.argmax())
        return Chosen(
            choice=record.choices[best],
            number=best,
            probability=float(_softmax(scores_K)[best]),
            log_probabilities=tuple(log_p_K.tolist()),
            tokens=tuple(tokens),
        )

    def _scores(
        self, record: Question, log_p_K: Sequence[float] | Floats, tokens: Sequence[int], by: By
    ) -> Floats:
        parts = {
            "sum": [1] * len(tokens),
            "token": tokens,
            "character": [len(text) for text in self._said_of(record)],
        }
        scores_K: Floats = np.array(log_p_K, np.float64) / np.array(parts[by])
        return scores_K

    def _probabilities(self, record: Question, said: Chosen) -> Floats:
        return _softmax(self._scores(record, said.log_probabilities, said.tokens, self.by))


def _softmax(scores_K: Floats) -> Floats:
    powers_K = np.exp(scores_K - scores_K.max())
    softmax_K: Floats = powers_K / powers_K.sum()
    return softmax_K

"""Another text for each text: a translation, a summary, other words, a title, a poem; written by an encoder-decoder or a decoder.

N records.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from hanlin.base.records import Written
from hanlin.evaluate.measure import Floats, Measure
from hanlin.evaluate.written import written_measures
from hanlin.tasks.asked import Language
from hanlin.tasks.task import Method
from hanlin.tasks.writing import Continued, Writing

_PROMPTS: dict[str, dict[Language, str]] = {
    "summarize": {
        "en": "Summarize the following text in one or two sentences.\n\n{source}\n\nSummary:",
        "zh": "用一两句话概括下面的文字。\n\n{source}\n\n摘要：",
    },
    "translate": {
        "en": "Translate the following sentence: {source}\nTranslation:",
        "zh": "翻译下面的句子：{source}\n译文：",
    },
    "rewrite": {
        "en": "Rewrite the following text.\n\n{source}\n\nRewritten:",
        "zh": "改写下面的文字。\n\n{source}\n\n改写：",
    },
}
_BETWEEN: dict[Language, str] = {
    "en": "Translate the following sentence from {0} to {1}: {{source}}\n{1}:",
    "zh": "把下面的句子从{0}翻译成{1}：{{source}}\n{1}：",
}
_FIRST = {"summarize": "rougeL", "translate": "bleu", "rewrite": "chrf"}
"""The figure that models are chosen and compared by."""


class Write(Writing[Written]):
    """Summaries, translations and other rewritings.

    What a record asks for beside (`control`) fills the places of these names in the prompt; what has no place there stands
    before the source, as in "[style: formal] ..." (arXiv 1909.05858, section 3; arXiv 1611.04558, section 3).
    """

    kind: Literal["summarize", "translate", "rewrite"] = "translate"
    languages: tuple[str, str] | None = Field(None, strict=False)
    """translate: the names of the languages, for the default prompt, as it is to say them."""

    record: ClassVar[type[Written]] = Written
    methods: ClassVar[tuple[Method, ...]] = Writing.methods

    @model_validator(mode="after")
    def _languages_of_translations(self) -> "Write":
        if self.languages is not None and self.kind != "translate":
            raise ValueError("languages are those of kind translate; say in prompt what else is wanted")
        return self

    def fields_of(self, record: Written) -> dict[str, str]:
        prompt = self.prompt or ""
        tags = [
            f"[{name}: {value}] " for name, value in record.control.items() if f"{{{name}}}" not in prompt
        ]
        return {"source": "".join(tags) + record.source, **record.control}

    def answers_of(self, record: Written) -> tuple[str, ...]:
        return record.targets or ()

    def default_prompt(self, language: Language | None, record: Written) -> str:
        if language is None:
            return "{source}"
        if self.languages is not None:
            return _BETWEEN[language].format(*self.languages)
        return _PROMPTS[self.kind][language]

    def measures(self, records: Sequence[Written], predictions: Sequence[Continued]) -> tuple[Measure, ...]:
        found = written_measures(
            [self.answers_of(one) for one in records],
            [one.text for one in predictions],
            lower_case=self.lowercase,
        )
        return tuple(sorted(found, key=lambda measure: measure.name != _FIRST[self.kind]))

    def wrongness(self, records: Sequence[Written], predictions: Sequence[Continued]) -> Floats:
        first = self.measures(records, predictions)
        by = next(one for one in first if one.name == ("rougeL" if self.kind == "summarize" else "chrf"))
        whole = 1.0 if by.name == "rougeL" else 100.0
        return 1 - np.array([by.of(np.array([number])) for number in range(len(records))]) / whole

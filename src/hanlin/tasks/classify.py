"""Classes of texts and of pairs of texts: sentiment, topic, intent, spam, paraphrase, entailment.

By a head on the model, or by the words that it would say (`class_forms.py`, `worded.py`). N records, K labels.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from hanlin.base.records import Labelled, Record
from hanlin.batches.labels import Places, check_classes
from hanlin.batches.loader import Examples
from hanlin.batches.template import slots_of
from hanlin.evaluate.calibration import fit_temperature, with_temperature
from hanlin.evaluate.classes import class_measures, label_set_measures
from hanlin.evaluate.measure import Floats, Measure
from hanlin.evaluate.probabilities import label_set_probability_measures, probability_measures
from hanlin.model.config import CoreConfig
from hanlin.objective.term import Objective
from hanlin.tasks.class_forms import ClassForm, HeadForm
from hanlin.tasks.class_records import check_pairs, found_labels, label_numbers
from hanlin.tasks.long_texts import TooLong
from hanlin.tasks.opened import Opened
from hanlin.tasks.task import UNTRAINED, Method, Task
from hanlin.tasks.worded import WordsForm, check_slots, default_template, draw_shots, words_of

BY_HEAD: tuple[Method, ...] = ("full", "lora")


_DEVIATION = 0.5
"""Of the prior on log T: few or one-sided validation records move probabilities little."""


class Classified(Record):
    """The label, or labels, with how probable each of all is.

    probability: of the label, or the least of the labels. cut: tokens of the text that were not read.
    """

    labels: tuple[str, ...]
    probability: float
    probabilities: dict[str, float]
    cut: int = 0


class Classify(Task[Labelled, Classified]):
    """One class of each text or pair, or with `multi_label` any number of labels."""

    kind: Literal["classify", "pair"] = "classify"
    """pair: every record has two texts."""
    labels: tuple[str, ...] = Field((), strict=False)
    """The names of the classes, in order; default: those of the training records, sorted."""
    multi_label: bool = False
    """Whether a record can have several labels, or none (full, lora)."""
    balanced: bool = False
    """Whether rare classes weigh as much as frequent ones while training (full, lora)."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the probability that all classes share, while training (full, lora)."""
    too_long: TooLong = "truncate"
    """What is done with texts that are longer than `max_tokens`."""
    temperature: float = Field(1.0, gt=0)
    """Scores are divided by it before they become probabilities; fitted on validation records (arXiv 1706.04599)."""

    template: str | None = None
    """Classes by words: what the model reads, such as "{text} It was {word}"; {pair} is a second text."""
    words: dict[str, str] = Field(default_factory=dict)
    """Classes by words: the word of each label; default: its name."""
    chat: bool = False
    """Classes by words: whether a decoder is asked in a conversation, and each word is judged as its answer."""
    calibrate: bool = False
    """zero-shot and few-shot: whether the model's liking for some words is taken out (arXiv 2102.09690)."""
    shots: int = Field(8, ge=1)
    """few-shot: training records that stand in the prompt, by turns of each class."""
    shots_seed: int = Field(0, ge=0)
    """few-shot: by which they are drawn."""
    shown: tuple[Labelled, ...] = Field((), strict=False)
    """few-shot: the records in the prompt; default: drawn from the training records."""

    record: ClassVar[type[Labelled]] = Labelled
    prediction: ClassVar[type[Classified]] = Classified
    methods: ClassVar[tuple[Method, ...]] = (*BY_HEAD, "prompt-tuning", "verbalizer", *UNTRAINED)
    chosen_by: ClassVar[tuple[str, Literal["lower", "higher"]]] = ("valid_accuracy", "higher")

    @field_validator("labels", "words", mode="before")
    @classmethod
    def _numbers_as_names(cls, values: Any) -> Any:
        """YAML reads the labels 0 and 1 as numbers."""
        if isinstance(values, dict):
            return {_name(label): word for label, word in values.items()}
        return tuple(map(_name, values)) if isinstance(values, list | tuple) else values

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        """A setting that would do nothing is an error, and so is a label that is named twice."""
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels names one twice: {', '.join(self.labels)}")
        of_heads = self.multi_label or self.balanced or self.label_smoothing > 0 or self.too_long == "windows"
        if of_heads and not self.is_by_head:
            raise ValueError(
                f"multi_label, balanced, label_smoothing and too_long windows are of the methods full and lora, not of {self.method}"
            )
        if self.is_by_head and (self.template or self.words or self.chat or self.calibrate):
            raise ValueError(f"template, words, chat and calibrate do nothing by the method {self.method}")
        if self.calibrate and self.is_trained:
            raise ValueError("calibrate is of zero-shot and few-shot")
        return self

    @classmethod
    def of_model(cls, config: CoreConfig) -> "Classify":
        """The task that a model with a head for classes does as it is, whoever trained it."""
        assert config.head == "classify"
        names = config.label_names or tuple(f"LABEL_{number}" for number in range(config.labels))
        return cls(labels=names, multi_label=config.multi_label)

    @property
    def is_by_head(self) -> bool:
        """Whether a head judges, and not the words that the model would say."""
        return self.method in BY_HEAD

    def begun(self, records: Sequence[Labelled], places: Places = None) -> Self:
        self._check_pairs(records, places)
        labels = self.labels or found_labels(records)
        label_numbers(records, labels, self.multi_label, places)
        if not self.labels or self.is_trained:
            check_classes({record.answer or "" for record in records}, len(records))
        filled: dict[str, Any] = {"labels": labels}
        if not self.is_by_head:
            words = words_of(labels, self.words)
            template = self.template or default_template(records, list(words.values()))
            check_slots(slots_of(template), records)
            filled |= {"words": words, "template": template}
        if self.method == "few-shot" and not self.shown:
            filled["shown"] = draw_shots(records, labels, self.shots, self.shots_seed)
        return self.model_copy(update=filled)

    def head(self) -> dict[str, Any]:
        return self._form.head()

    def examples(self, opened: Opened, records: Sequence[Labelled], places: Places = None) -> Examples:
        self._check_pairs(records, places)
        return self._form.examples(opened, records, self._numbers(records, places), places)

    def objective(self, records: Sequence[Labelled]) -> Objective:
        return self._form.objective(self._numbers(records))

    def predict(self, opened: Opened, records: Sequence[Labelled], title: str = "") -> list[Classified]:
        if not records:
            return []
        self._check_pairs(records, None)
        found = self._form.scores(opened, records, title)
        cut = found.cut_N.tolist()
        said = zip(self._probabilities(found.scores_NK), cut, strict=True)
        return [self.classified(probabilities_K, lost) for probabilities_K, lost in said]

    def check_answers(self, records: Sequence[Labelled], places: Places = None) -> None:
        self._numbers(records, places)

    def calibrated(self, opened: Opened, records: Sequence[Labelled]) -> Self:
        if not self.is_trained or not records or self.temperature != 1:  # given: kept
            return self
        scores_NK = self._form.scores(opened, records, "").scores_NK
        numbers = self._numbers(records)
        if self.multi_label:
            yes = scores_NK.ravel()
            scores_NK, numbers = np.stack([np.zeros_like(yes), yes], 1), numbers.ravel()
        return self.model_copy(update={"temperature": fit_temperature(scores_NK, numbers, _DEVIATION)})

    def measures(self, records: Sequence[Labelled], predictions: Sequence[Classified]) -> tuple[Measure, ...]:
        truth, said = [one.labels or () for one in records], [one.labels for one in predictions]
        p_NK = [[one.probabilities[label] for label in self.labels] for one in predictions]
        if self.multi_label:
            return (
                *label_set_measures(truth, said, self.labels),
                *label_set_probability_measures(truth, p_NK, self.labels),
            )
        (true, one) = ([labels[0] for labels in side] for side in (truth, said))
        return (
            *class_measures(true, one, self.labels),
            *probability_measures(true, p_NK, self.labels),
        )

    def wrongness(self, records: Sequence[Labelled], predictions: Sequence[Classified]) -> Floats:
        """1 - P(the right class), of sets of labels the sum over the wrong decisions of 1 - P; 0 where all is right."""
        wrong = [
            sum(
                said.probabilities.get(label, 0)
                if label in said.labels
                else 1 - said.probabilities.get(label, 0)
                for label in set(record.labels or ()) ^ set(said.labels)
                if self.multi_label or label in (record.labels or ())
            )
            for record, said in zip(records, predictions, strict=True)
        ]
        return np.array(wrong, np.float64)

    def said(self, prediction: Classified) -> str:
        return ", ".join(prediction.labels)

    def classified(self, probabilities_K: Floats, cut: int = 0) -> Classified:
        """What follows from the probabilities: the likeliest label, or all labels that are likelier than not."""
        named = dict(zip(self.labels, probabilities_K.tolist(), strict=True))
        if not self.multi_label:
            best = max(named, key=lambda name: named[name])
            return Classified(labels=(best,), probability=named[best], probabilities=named, cut=cut)
        labels = tuple(name for name, p in named.items() if p > 0.5)
        least = min((named[name] for name in labels), default=1 - max(named.values()))
        return Classified(labels=labels, probability=least, probabilities=named, cut=cut)

    @property
    def _form(self) -> ClassForm:
        if self.is_by_head:
            return HeadForm(
                self.labels,
                self.multi_label,
                self.balanced,
                self.label_smoothing,
                self.max_tokens,
                self.too_long,
            )
        assert self.template is not None, "`begun` comes first"
        return WordsForm(
            self.labels,
            self.template,
            self.words,
            self.shown,
            self.chat,
            self.calibrate,
            self.max_tokens,
            self.too_long,
        )

    def _numbers(self, records: Sequence[Labelled], places: Places = None) -> Any:
        return label_numbers(records, self.labels, self.multi_label, places)

    def _check_pairs(self, records: Sequence[Labelled], places: Places) -> None:
        if self.kind == "pair":
            check_pairs(records, places)

    def _probabilities(self, scores_NK: Floats) -> Floats:
        if not self.multi_label:
            return with_temperature(scores_NK, self.temperature)
        odds_NK: Floats = np.exp(-np.logaddexp(0, -scores_NK / self.temperature))
        return odds_NK


def _name(label: Any) -> Any:
    is_number = isinstance(label, int | float) and not isinstance(label, bool)
    return str(label) if is_number else label

"""Classes of texts and of pairs of texts by a head on the model: sentiment, topic, intent, spam, paraphrase, entailment.

N records, K labels.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from hanlin.base.records import Labelled, Record
from hanlin.batches.batch import IGNORE
from hanlin.batches.labelled import LabelledTexts
from hanlin.batches.labels import Places, balanced_weights, class_labels, label_sets
from hanlin.evaluate.measure import Floats, Measure, mean_of
from hanlin.objective.classification import Classification, MultiLabel
from hanlin.objective.judged import judgements
from hanlin.objective.term import Objective
from hanlin.tasks.opened import Opened
from hanlin.tasks.passes import passed
from hanlin.tasks.task import Method, Task


class Classified(Record):
    """The label, or labels, with how probable each of all is. `probability`: of the label, or the least of the labels."""

    labels: tuple[str, ...]
    probability: float
    probabilities: dict[str, float]


class Classify(Task[Labelled, Classified]):
    """One class of each text or pair, or with `multi_label` any number of labels."""

    kind: Literal["classify", "pair"] = "classify"
    """pair: every record has two texts."""
    labels: tuple[str, ...] = Field((), strict=False)
    """The names of the classes, in order; default: those of the training records, sorted."""
    multi_label: bool = False
    """Whether a record can have several labels, or none."""
    balanced: bool = False
    """Whether rare classes weigh as much as frequent ones while training."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the probability that all classes share, while training."""

    record: ClassVar[type[Labelled]] = Labelled
    prediction: ClassVar[type[Classified]] = Classified
    methods: ClassVar[tuple[Method, ...]] = ("full", "lora")

    def begun(self, records: Sequence[Labelled], places: Places = None) -> Self:
        found = {label for record in records for label in record.labels or ()}
        return self if self.labels else self.model_copy(update={"labels": tuple(sorted(found))})

    def head(self) -> dict[str, Any]:
        return {"head": "classify", "label_names": self.labels, "multi_label": self.multi_label}

    def examples(self, opened: Opened, records: Sequence[Labelled], places: Places = None) -> LabelledTexts:
        numbers = {name: number for number, name in enumerate(self.labels)}
        labels = [[numbers[label] for label in record.labels or ()] for record in records]
        if self.multi_label:
            return self._texts(opened, records, label_sets(labels, len(numbers), places), places)
        return self._texts(
            opened, records, class_labels([one[0] for one in labels], len(numbers), places), places
        )

    def objective(self, records: Sequence[Labelled]) -> Objective:
        if self.multi_label:
            return MultiLabel()
        numbers = np.array([self.labels.index((record.labels or ())[0]) for record in records])
        weights = balanced_weights(numbers, len(self.labels)).tolist() if self.balanced else None
        return Classification(weights, self.label_smoothing)

    def predict(self, opened: Opened, records: Sequence[Labelled], title: str = "") -> list[Classified]:
        examples = self._texts(opened, records, np.full(len(records), IGNORE, np.int64), None)
        model = opened.headed
        scores = passed(opened, examples, lambda batch: judgements(model, batch.inputs, "classify"), title)
        return [
            self._said(one.double().sigmoid() if self.multi_label else one.double().softmax(0))
            for one in scores
        ]

    def measures(self, records: Sequence[Labelled], predictions: Sequence[Classified]) -> tuple[Measure, ...]:
        right = [record.labels == said.labels for record, said in zip(records, predictions, strict=True)]
        return (mean_of("accuracy", np.array(right, np.float64)),)

    def wrongness(self, records: Sequence[Labelled], predictions: Sequence[Classified]) -> Floats:
        return np.array(
            [
                1 - said.probabilities[(one.labels or ("",))[0]]
                for one, said in zip(records, predictions, strict=True)
            ]
        )

    def _texts(
        self, opened: Opened, records: Sequence[Labelled], labels: Any, places: Places
    ) -> LabelledTexts:
        tokenizer, most = opened.tokenizer, opened.window(self.max_tokens)
        encodings = [
            tokenizer.encode_single(one.text, most)
            if one.pair is None
            else tokenizer.encode_pair(one.text, one.pair, max_length=most)
            for one in records
        ]
        return LabelledTexts(encodings, labels, tokenizer.pad_id, places=places)

    def _said(self, probabilities_K: Any) -> Classified:
        named = dict(zip(self.labels, probabilities_K.tolist(), strict=True))
        if not self.multi_label:
            best = max(named, key=lambda name: named[name])
            return Classified(labels=(best,), probability=named[best], probabilities=named)
        labels = tuple(name for name, p in named.items() if p > 0.5)
        least = min((named[name] for name in labels), default=1 - max(named.values()))
        return Classified(labels=labels, probability=least, probabilities=named)

"""How a model is asked for classes: by a head of its own, or by words that it continues with.

N records, K labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from hanlin.base.records import Labelled
from hanlin.batches.batch import IGNORE
from hanlin.batches.labelled import LabelledTexts
from hanlin.batches.labels import Places, balanced_weights
from hanlin.batches.loader import Examples
from hanlin.evaluate.measure import Floats, Ids
from hanlin.objective.classification import Classification, MultiLabel
from hanlin.objective.judged import judgements
from hanlin.objective.term import Objective
from hanlin.tasks.long_texts import TooLong, fit_texts
from hanlin.tasks.opened import Opened
from hanlin.tasks.passes import passed


@dataclass(frozen=True)
class Scores:
    """scores_NK: logits, or log-probabilities, float64. cut_N: tokens of each record that were not read."""

    scores_NK: Floats
    cut_N: Ids


class ClassForm(Protocol):
    """One way. numbers: the classes of the records, from `label_numbers`."""

    def head(self) -> dict[str, Any]:
        """The settings of the model's head; empty: as it has it."""

    def examples(self, opened: Opened, records: Sequence[Labelled], numbers: Ids, places: Places) -> Examples:
        """Records to learn from."""

    def objective(self, numbers: Ids) -> Objective:
        """What training minimises."""

    def scores(self, opened: Opened, records: Sequence[Labelled], title: str) -> Scores:
        """What the model says of each record."""


@dataclass(frozen=True)
class HeadForm:
    """A linear layer on the vector that stands for the text (arXiv 1810.04805, section 4.1)."""

    labels: tuple[str, ...]
    multi_label: bool
    balanced: bool
    label_smoothing: float
    max_tokens: int | None
    too_long: TooLong

    def head(self) -> dict[str, Any]:
        """Of as many outputs as there are labels."""
        return {"head": "classify", "label_names": self.labels, "multi_label": self.multi_label}

    def examples(
        self, opened: Opened, records: Sequence[Labelled], numbers: Ids, places: Places
    ) -> LabelledTexts:
        """A row for each record, or each window of one. Raises as `fit_texts`, and for texts without tokens."""
        fitted = fit_texts(opened, records, self.max_tokens, self.too_long, places)
        pad_id = opened.tokenizer.pad_id
        return LabelledTexts(fitted.rows, numbers[fitted.owner_W], pad_id, places=fitted.places(places))

    def objective(self, numbers: Ids) -> Objective:
        """Cross-entropy, for sets of labels that of each label by itself."""
        K = len(self.labels)
        if self.multi_label:
            have_K = np.maximum(numbers.sum(0), 1)
            return MultiLabel(
                (np.maximum(len(numbers) - have_K, 1) / have_K).tolist() if self.balanced else None
            )
        return Classification(
            balanced_weights(numbers, K).tolist() if self.balanced else None, self.label_smoothing
        )

    def scores(self, opened: Opened, records: Sequence[Labelled], title: str) -> Scores:
        """Logits, of windows their mean."""
        fitted = fit_texts(opened, records, self.max_tokens, self.too_long)
        unknown_W = np.full(len(fitted.rows), IGNORE, np.int64)
        examples = LabelledTexts(fitted.rows, unknown_W, opened.tokenizer.pad_id, places=fitted.places(None))
        model = opened.headed
        said = passed(opened, examples, lambda batch: judgements(model, batch.inputs, "classify"), title)
        return Scores(fitted.means(said), fitted.cut_N)

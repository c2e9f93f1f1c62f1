"""A number of each text or pair of texts: likeness, grade, value. N records."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.base.records import Record, Scored
from hanlin.batches.labelled import LabelledTexts
from hanlin.batches.labels import Places, numbers
from hanlin.batches.ragged import name_record
from hanlin.evaluate.measure import Floats, Measure
from hanlin.evaluate.numbers import number_measures
from hanlin.objective.judged import judgements
from hanlin.objective.regression import Regression
from hanlin.objective.term import Objective
from hanlin.tasks.long_texts import TooLong, fit_texts
from hanlin.tasks.opened import Opened
from hanlin.tasks.passes import passed
from hanlin.tasks.task import Method, Task


class Regressed(Record):
    """The number. cut: tokens of the text that were not read."""

    score: float
    cut: int = 0


class Regress(Task[Scored, Regressed]):
    """Learned as (number - mean) / deviation of the training records, and said in their own scale."""

    kind: Literal["regress"] = "regress"
    mean: float = Field(0.0, allow_inf_nan=False)
    """Of the numbers of the training records, filled in by them."""
    deviation: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Their standard deviation, filled in by them."""
    low: float | None = None
    """The least number that there can be: nothing below is said."""
    high: float | None = None
    """The greatest."""
    too_long: TooLong = "truncate"
    """What is done with texts that are longer than `max_tokens`."""

    record: ClassVar[type[Scored]] = Scored
    prediction: ClassVar[type[Regressed]] = Regressed
    methods: ClassVar[tuple[Method, ...]] = ("full", "lora")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        return self

    def begun(self, records: Sequence[Scored], places: Places = None) -> Self:
        score_N = self._scores(records, places)
        if not len(score_N) or score_N.min() == score_N.max():
            same = f"{score_N[0]:g}" if len(score_N) else "-"
            raise DataError(
                Text(f"The {len(records)} training records all have the number {same}: there is nothing to learn.",
                     f"{len(records)} 条训练记录的数值都是 {same}：没有可学的内容。"),
                Text("Give records with different numbers.", "请提供数值不同的记录。"),
            )  # fmt: skip
        return self.model_copy(update={"mean": float(score_N.mean()), "deviation": float(score_N.std())})

    def head(self) -> dict[str, Any]:
        return {"head": "regress"}

    def examples(self, opened: Opened, records: Sequence[Scored], places: Places = None) -> LabelledTexts:
        scaled_N = ((self._scores(records, places) - self.mean) / self.deviation).astype(np.float32)
        fitted = fit_texts(opened, records, self.max_tokens, self.too_long, places)
        pad_id = opened.tokenizer.pad_id
        return LabelledTexts(fitted.rows, scaled_N[fitted.owner_W], pad_id, places=fitted.places(places))

    def objective(self, records: Sequence[Scored]) -> Objective:
        return Regression()

    def predict(self, opened: Opened, records: Sequence[Scored], title: str = "") -> list[Regressed]:
        if not records:
            return []
        fitted = fit_texts(opened, records, self.max_tokens, self.too_long)
        nothing_W = np.zeros(len(fitted.rows), np.float32)
        examples = LabelledTexts(fitted.rows, nothing_W, opened.tokenizer.pad_id)
        model = opened.headed
        said = passed(opened, examples, lambda batch: judgements(model, batch.inputs, "regress"), title)
        cut = fitted.cut_N.tolist()
        return [
            self.regressed(self.mean + self.deviation * float(one), lost)
            for one, lost in zip(fitted.means(said), cut, strict=True)
        ]

    def regressed(self, score: float, cut: int = 0) -> Regressed:
        """A number, brought within the bounds."""
        low, high = (-np.inf if self.low is None else self.low), (np.inf if self.high is None else self.high)
        return Regressed(score=float(np.clip(score, low, high)), cut=cut)

    def measures(self, records: Sequence[Scored], predictions: Sequence[Regressed]) -> tuple[Measure, ...]:
        return number_measures(self._scores(records, None).tolist(), [one.score for one in predictions])

    def wrongness(self, records: Sequence[Scored], predictions: Sequence[Regressed]) -> Floats:
        said_N: Floats = np.array([one.score for one in predictions], np.float64)
        return np.abs(said_N - self._scores(records, None))

    def said(self, prediction: Regressed) -> str:
        return f"{prediction.score:.3g}"

    def _scores(self, records: Sequence[Scored], places: Places) -> Floats:
        """The numbers; raises `DataError` for one that is not known, not finite or out of bounds."""
        for number, record in enumerate(records):
            place, score = name_record(number, places), record.score
            if score is None:
                raise DataError(
                    Text(f"Record {place} has no number.", f"记录 {place} 没有数值。"),
                    Text("Give it one, or leave it out.", "请补上数值，或去掉该记录。"),
                )
            if (self.low is not None and score < self.low) or (self.high is not None and score > self.high):
                raise DataError(
                    Text(f"Record {place} has the number {score:g}, which is out of bounds (task.low, task.high).",
                         f"记录 {place} 的数值 {score:g} 超出范围（task.low、task.high）。"),
                    Text("Mend the number or the bounds.", "请修改该数值或上下界。"),
                )  # fmt: skip
        values = [record.score for record in records if record.score is not None]
        numbers(values, places)
        return np.array(values, np.float64)

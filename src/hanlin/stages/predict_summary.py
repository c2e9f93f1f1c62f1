"""What became of the rows of `hanlin predict`, for people: how many, what was cut, what failed, how good it is."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hanlin.base.language import Text
from hanlin.base.records import Labelled, Matched, TaskRecord
from hanlin.evaluate.figure_names import figure_name, span, written
from hanlin.evaluate.figures import figures
from hanlin.records.loaded import Problem
from hanlin.stages.predict_rows import Pair
from hanlin.tasks.examination import has_answer
from hanlin.tasks.model import TaskModel

MOST_MEASURED = 100_000
"""Rows with answers of which figures are made; those that follow are only predicted."""

MANY = 10_000
"""Rows whose figures hardly move: their intervals need fewer resamples."""

SHOWN = 5


@dataclass
class Tally:
    """What became of the rows."""

    rows: int = 0
    cut: list[str] = field(default_factory=list)
    cut_rows: int = 0
    problems: list[Problem] = field(default_factory=list)
    unpredicted: int = 0
    known: list[tuple[TaskRecord, Any]] = field(default_factory=list)

    def add(self, pair: Pair, said: dict[str, Any] | None, model: TaskModel) -> None:
        """Count a row with what was said of it."""
        row, record = pair
        self.rows += 1
        if isinstance(record, Problem) or said is None:
            assert isinstance(record, Problem)
            self.unpredicted += 1
            self.problems = [*self.problems, record][:SHOWN]
            return
        if said.get("cut"):
            self.cut_rows += 1
            self.cut = [*self.cut, row.place if row else ""][:SHOWN]
        # How well texts are found depends on what else there is to find: `hanlin evaluate` examines that.
        if has_answer(record) and not isinstance(record, Matched) and len(self.known) < MOST_MEASURED:
            self.known.append((record, model.task.prediction.model_validate(said)))


def summary_lines(model: TaskModel, tally: Tally) -> list[str]:
    """What was done, what was cut, what could not be predicted, and how good it is where answers are known."""
    predicted = tally.rows - tally.unpredicted
    lines = [Text(f"{predicted:,} rows predicted by {model.name} ({model.kind}).",
                  f"{model.name}（{model.kind}）预测了 {predicted:,} 行。")]  # fmt: skip
    if tally.cut_rows:
        some = ", ".join(tally.cut) + (" ..." if tally.cut_rows > len(tally.cut) else "")
        most = model.opened.window(model.task.max_tokens)
        lines.append(Text(f"{tally.cut_rows:,} were longer than {most} tokens and cut: {some}",
                          f"{tally.cut_rows:,} 行超过 {most} 个词元而被截断：{some}"))  # fmt: skip
    if tally.unpredicted:
        lines.append(
            Text(f"{tally.unpredicted:,} could not be predicted:", f"{tally.unpredicted:,} 行无法预测：")
        )
        lines += [
            Text(f"  {one.place}: {one.reason.en}", f"  {one.place}：{one.reason.zh}")
            for one in tally.problems
        ]
    lines += _figure_lines(model, tally)
    return [str(line) for line in lines]


def _figure_lines(model: TaskModel, tally: Tally) -> Iterator[Text]:
    """How good the predictions of rows with known answers are; labels that the model never learned tell nothing of that."""
    labels = set(getattr(model.task, "labels", ()))
    is_strange = [
        isinstance(one, Labelled) and not labels.issuperset(one.labels or ()) for one, _ in tally.known
    ]
    strange = [one for (one, _), odd in zip(tally.known, is_strange, strict=True) if odd]
    if strange:
        names = sorted({label for one in strange for label in getattr(one, "labels", None) or ()} - labels)
        some = ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
        yield Text(f"{len(strange):,} rows have labels that the model did not learn ({some}); they are not measured.",
                   f"{len(strange):,} 行的标签是模型没有学过的（{some}），不计入评测。")  # fmt: skip
    known = [pair for pair, odd in zip(tally.known, is_strange, strict=True) if not odd]
    if known:
        records, predictions = zip(*known, strict=True)
        resamples = 1000 if len(records) <= MANY else 100
        for one in figures(model.task.measures(records, predictions), resamples):
            said = f"{written(one.value)} ({span(one.low, one.high)}), n = {one.n:,}"
            yield Text(f"{figure_name(one.name, 'en')} {said}", f"{figure_name(one.name, 'zh')} {said}")

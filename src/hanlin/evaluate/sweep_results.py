"""What a sweep has found: the record of each trial, and what they say together."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from hanlin.evaluate.results import Interval
from hanlin.evaluate.scaling import Prediction, Run


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Trial(_Record):
    """One setting and what became of it.

    values: the metric of each repeat; curve: (step, metric) at the validations of the first; seconds: of training
    alone, over all repeats; tokens: that one repeat learned from.
    """

    number: int
    setting: dict[str, JsonValue]
    state: Literal["finished", "pruned", "failed"]
    held_out: bool = False
    values: tuple[float, ...] = ()
    figures: dict[str, float] = {}
    curve: tuple[tuple[int, float], ...] = ()
    parameters: int = 0
    tokens: int = 0
    seconds: float = 0.0
    tokens_per_second: float = 0.0
    reason: str = ""

    @property
    def value(self) -> float:
        """The mean of the metric over the repeats; only of a finished trial."""
        return sum(self.values) / len(self.values)

    @property
    def spread(self) -> float | None:
        """The standard deviation of the metric over the repeats; None for one."""
        if len(self.values) < 2:
            return None
        squares = sum((value - self.value) ** 2 for value in self.values)
        return float((squares / (len(self.values) - 1)) ** 0.5)


class Law(_Record):
    """A fitted scaling law: its constants with intervals, the runs it was fitted to, and its prediction."""

    over_tokens: bool
    constants: dict[str, float]
    intervals: dict[str, Interval]
    deviation: float
    runs: tuple[Run, ...]
    curves: tuple[tuple[float, tuple[tuple[float, float], ...]], ...]
    held_out: Run | None = None
    prediction: Prediction | None = None


class Sweep(_Record):
    """All of it. importance: the share of each parameter in how good a trial is, if there are enough trials to tell."""

    metric: str
    better: Literal["lower", "higher"]
    repeats: int
    trials: tuple[Trial, ...]
    best: int | None
    importance: dict[str, float] = {}
    laws: tuple[Law, ...] = ()
    no_law: str = ""

    @property
    def finished(self) -> list[Trial]:
        """Finished trials of the search, the best first."""
        done = [trial for trial in self.trials if trial.state == "finished" and not trial.held_out]
        return sorted(done, key=lambda trial: trial.value, reverse=self.better == "higher")

    @property
    def ranked(self) -> list[Trial]:
        """All trials: finished ones from the best on, then the rest by number."""
        first = self.finished
        return first + [trial for trial in self.trials if trial not in first]


def describe(setting: dict[str, JsonValue]) -> str:
    """A setting in one line: 'learning_rate=0.01 width=64'; a section's settings stand for themselves."""
    parts = []
    for name, value in setting.items():
        if isinstance(value, dict):
            parts += [f"{key}={_plain(inner)}" for key, inner in value.items()]
        else:
            parts.append(f"{name.rsplit('.', 1)[-1]}={_plain(value)}")
    return " ".join(parts)


def _plain(value: JsonValue) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

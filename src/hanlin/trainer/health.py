"""The health of a run's losses: spikes, divergence, and the gap between training and validation.

A spike is a loss beyond k robust deviations above the median of the last steps: the deviation is 1.4826 times the
median absolute deviation (Hampel 1974; the factor makes it the standard deviation of normal losses), and at least two
percent of the median, so that a flat curve does not raise alarms about nothing.
"""

import math
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Self

from hanlin.base.language import Text

_FEWEST = 16
"""Losses before anything is judged."""


@dataclass
class Losses:
    """The last training losses of one objective, the first one, the lowest median, and for how long it has been far off."""

    recent: list[float] = field(default_factory=list)
    first: float = 0.0
    lowest: float | None = None
    astray_steps: int = 0
    finite: bool = True
    """Whether the last one was finite."""

    @property
    def middle(self) -> float:
        """The median of the last losses."""
        return median(self.recent)

    @property
    def astray(self) -> bool:
        """Whether the losses are far above where they were at this moment: no time to save."""
        return self.astray_steps > 0 or (bool(self.recent) and self.recent[-1] > self._never_learned)

    @property
    def _never_learned(self) -> float:
        """A loss that no model has that has learned something since the first step."""
        return 2 * abs(self.first) + 1

    def deviations(self, loss: float) -> float:
        """How many robust deviations `loss` lies above the median of the last steps; 0 while they are too few."""
        if len(self.recent) < _FEWEST:
            return 0.0
        middle = self.middle
        spread = 1.4826 * median(abs(value - middle) for value in self.recent)
        return (loss - middle) / max(spread, 0.02 * abs(middle), 1e-12)

    def add(self, loss: float, window: int) -> None:
        """Remember the loss of a step, among the last `window`; one that is not finite is far off."""
        self.finite = math.isfinite(loss)
        if not self.finite:
            self.astray_steps += 1
            return
        if not self.recent:
            self.first = loss
        self.recent = [*self.recent[1 - window :], loss]
        if len(self.recent) < _FEWEST:
            self.astray_steps = 0
            return
        middle = self.middle
        self.lowest = middle if self.lowest is None else min(self.lowest, middle)
        lost = middle - self.lowest > max((self.first - self.lowest) / 2, abs(self.lowest) / 2)
        self.astray_steps = self.astray_steps + 1 if lost or middle > self._never_learned else 0

    def diverged(self, window: int) -> bool:
        """Whether the median has for half a window lost more than half of what had been learned, and of itself.

        Or has for so long been more than twice the first loss, or no step was finite.
        """
        return self.astray_steps >= window // 2


@dataclass
class Gap:
    """Training and validation loss side by side: whether the model learns by heart."""

    total: float = 0.0
    steps: int = 0
    best: tuple[float, float] | None = None
    """Both losses where that of validation was lowest."""
    alarms: int = 0

    def add(self, loss: float) -> None:
        """Take the training loss of a step, if it is finite."""
        if math.isfinite(loss):
            self.total, self.steps = self.total + loss, self.steps + 1

    def look(self, valid: float) -> bool:
        """Take the loss of a validation; whether it is time for an alarm.

        It is when, since the best validation, the training loss (its mean since the validation before) fell while the
        validation loss rose, and the gap between them grew by more than a tenth of the best validation loss.
        """
        train = self.total / max(1, self.steps)
        self.total, self.steps = 0.0, 0
        if self.best is None or valid < self.best[1]:
            self.best = (train, valid)
            return False
        best_train, best_valid = self.best
        grown = (valid - train) - (best_valid - best_train)
        alarm = train < best_train and valid > best_valid and grown > 0.1 * abs(best_valid)
        self.alarms += alarm
        return alarm

    def words(self) -> Text:
        """For the report of a run."""
        if not self.alarms:
            return Text("No sign of over-fitting.", "没有过拟合的迹象。")
        return Text(
            f"Over-fitting: at {self.alarms} validations the training loss had fallen while the validation loss had "
            "risen. Use more text, fewer steps (patience), more dropout or weight decay.",
            f"过拟合：有 {self.alarms} 次验证时训练损失下降而验证损失上升。"
            "请增加文本、减少步数（patience），或加大 dropout 与 weight_decay。",
        )


@dataclass
class Health:
    """Part of the train state: the losses of each part of a mixture, spikes counted, and the gap."""

    losses: dict[str, Losses] = field(default_factory=dict)
    spikes: int = 0
    gap: Gap = field(default_factory=Gap)

    def of(self, part: str) -> Losses:
        """The losses of one part."""
        return self.losses.setdefault(part, Losses())

    def report(self) -> dict[str, Any]:
        """Counts, and the gap in words."""
        return {"spikes": self.spikes, "gap_alarms": self.gap.alarms, "gap": str(self.gap.words())}

    def values(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Self:
        """What `values` gave."""
        gap = values["gap"]
        best = tuple(gap["best"]) if gap["best"] else None
        losses = {part: Losses(**each) for part, each in values["losses"].items()}
        return cls(losses, values["spikes"], Gap(**{**gap, "best": best}))

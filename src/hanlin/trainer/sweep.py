"""`SweepConfig`: which settings a search tries, how it chooses them, and by what it judges them."""

import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, JsonValue, Tag, model_validator

from hanlin.base.config import Settings

Setting = Mapping[str, JsonValue]
"""One trial: parameters by dotted name, each with its value."""


class Range(Settings):
    """Every value between two: whole numbers if `low` and `high` are."""

    low: int | float
    """The least value."""
    high: int | float
    """The greatest value."""
    log: bool = False
    """Whether a factor counts as far wherever it is: for learning rates and sizes."""
    step: int | float | None = Field(None, gt=0)
    """Only every so many; default: every whole number, or all numbers."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError("a log range must lie above 0")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other")
        if self.whole and isinstance(self.step, float):
            raise ValueError(f"step {self.step} must be a whole number, as low and high are")
        return self

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)


def _kind(value: Any) -> str:
    return "Range" if isinstance(value, dict | Range) else "list"


Values = Annotated[
    Annotated[tuple[JsonValue, ...], Field(min_length=1), Tag("list")] | Annotated[Range, Tag("Range")],
    Discriminator(_kind),
]
"""The values of one parameter: a list of them, or a range."""


class SweepConfig(Settings):
    """The `sweep:` section of a recipe."""

    parameters: dict[str, Values] = Field(default_factory=dict)
    """Values by the dotted name of a setting, as `pretrain.learning_rate`; those of a whole section, as `model`, are
    settings that go together."""
    sampler: Literal["grid", "random", "tpe"] = "grid"
    """Every combination, random ones, or random ones that lean to what went well (Bergstra et al. 2011)."""
    trials: int | None = Field(None, ge=1)
    """How many settings random and tpe try; default: 20. A grid tries all."""
    metric: str | None = Field(None, min_length=1)
    """A logged metric of validation; bits_per_byte or perplexity of the whole validation split; default: pretrain.metric."""
    better: Literal["lower", "higher"] | None = None
    """Whether lower or higher values of `metric` are better; default: pretrain.better."""
    pruner: Literal["median", "hyperband"] | None = None
    """What ends a trial that is behind at a validation: the median of the others there, or Hyperband (arXiv 1603.06560)."""
    repeats: int = Field(1, ge=1)
    """Runs of each setting, each with a seed of its own; a trial's value is their mean."""
    processes: int = Field(1, ge=1)
    """Trials at a time, which share the threads."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of what is tried."""
    fit: Literal["scaling"] | None = None
    """scaling: the law that the losses follow over parameters and tokens."""
    held_out: dict[str, JsonValue] | None = None
    """One more setting that is trained but not fitted: the law has to predict its loss."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ranges = [name for name, values in self.parameters.items() if isinstance(values, Range)]
        if self.sampler == "grid" and ranges:
            raise ValueError(f"a grid needs a list of values for {ranges[0]}; ranges are for random and tpe")
        if self.sampler == "grid" and self.trials is not None:
            raise ValueError("trials is for random and tpe; a grid tries every combination")
        if self.held_out is not None and self.fit is None:
            raise ValueError("held_out needs fit: scaling, which has to predict it")
        return self

    @property
    def count(self) -> int:
        """How many settings are tried, without the one that is held out."""
        return len(self.grid()) if self.sampler == "grid" else self.trials or 20

    def grid(self) -> list[Setting]:
        """Every combination of the listed values, the last parameter running fastest."""
        lists = [values for values in self.parameters.values() if not isinstance(values, Range)]
        return [dict(zip(self.parameters, point, strict=True)) for point in itertools.product(*lists)]

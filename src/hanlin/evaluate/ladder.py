"""The ladder: what is asked of `hanlin ladder`, and what it found, as it stands in `results.json`."""

from typing import Any, Literal, get_args

import numpy as np
from pydantic import Field, field_validator, model_validator

from hanlin.base.config import Settings
from hanlin.base.records import Record, Split
from hanlin.evaluate.perplexity import Scores
from hanlin.evaluate.results import Difference, Figures

RungName = Literal["uniform", "n-gram", "feed-forward", "rnn", "lstm", "gru", "transformer"]
RUNGS: tuple[RungName, ...] = get_args(RungName)
"""All rungs, in the order of history."""


class LadderConfig(Settings):
    """Which models are held against each other, under one budget, and how they are probed."""

    rungs: tuple[RungName, ...] = Field(RUNGS, min_length=1)
    """The models, from the lowest rung up."""
    tokens: int | None = Field(None, ge=1)
    """Budget: each network learns from this many tokens, repeated ones included (default: 1,000,000)."""
    seconds: float | None = Field(None, gt=0)
    """Budget instead of `tokens`: each network learns for about so long on this machine."""
    context: int = Field(4, ge=1)
    """Tokens that the feed-forward network sees."""
    recurrent_layers: int = Field(1, ge=1)
    """Layers of the recurrent networks."""
    gradient_distance: int = Field(64, ge=2)
    """How many tokens back the gradient is looked at."""
    gradient_rows: int = Field(64, ge=1)
    """Over how many pieces of held-out text it is averaged."""
    recall_distances: tuple[int, ...] = Field((1, 2, 4, 8, 16, 32, 64), min_length=1)
    """Tokens between a symbol and each question for it."""
    recall_steps: int = Field(300, ge=2)
    """Steps in which each network learns the recall task."""
    recall_rows: int = Field(16, ge=1)
    """Rows of a step of it."""

    @model_validator(mode="before")
    @classmethod
    def _one_budget(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        given = [name for name in ("tokens", "seconds") if values.get(name) is not None]
        if len(given) == 2:
            raise ValueError("tokens and seconds are two budgets; give one")
        return values if given else {**values, "tokens": 1_000_000}

    @field_validator("rungs", "recall_distances")
    @classmethod
    def _once_each(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) < len(values):
            raise ValueError("names one thing twice")
        return values

    @field_validator("recall_distances")
    @classmethod
    def _ascending(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if min(values) < 1 or list(values) != sorted(values):
            raise ValueError("must be ascending whole numbers from 1 up")
        return values


class DocumentScores(Record):
    """What a model makes of each document (see `evaluate.perplexity.Scores`), kept so that rungs compare in pairs."""

    nll: tuple[float, ...]
    tokens: tuple[int, ...]
    bytes: tuple[int, ...]
    characters: tuple[int, ...]

    @classmethod
    def of(cls, scores: Scores) -> "DocumentScores":
        """From arrays."""
        arrays = (scores.nll_D, scores.tokens_D, scores.bytes_D, scores.characters_D)
        nll, tokens, sizes, characters = (tuple(array.tolist()) for array in arrays)
        return cls(nll=nll, tokens=tokens, bytes=sizes, characters=characters)

    def arrays(self) -> Scores:
        """As arrays."""
        tokens, sizes, characters = (
            np.array(v, np.int64) for v in (self.tokens, self.bytes, self.characters)
        )
        return Scores(np.array(self.nll), tokens, sizes, characters)


class Cost(Record):
    """What it took to train: wall time, CPU time of all threads, and bytes at the peak beyond what was held before."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0


class Rung(Record):
    """One model on the ladder."""

    name: RungName
    settings: dict[str, Any]
    parameters: int
    """Trained values; for the n-gram model, the n-grams that it keeps."""
    tokens: int
    """Tokens learned from, repeated ones included."""
    cost: Cost
    figures: Figures
    scores: DocumentScores
    losses: tuple[tuple[int, float], ...] = ()
    """(tokens, mean training loss in nats) along the way."""
    gradient: tuple[float, ...] = ()
    """|d loss_t / d e_{t-k}| for k = 0, 1, ...; empty where there is no gradient, or no document long enough."""
    recall: tuple[float, ...] = ()
    """Share of right answers at each of the distances asked; empty for the uniform model."""

    @property
    def tokens_per_second(self) -> float | None:
        """Speed of training; None where nothing was trained."""
        return self.tokens / self.cost.seconds if self.cost.seconds else None


class Ladder(Record):
    """All rungs on the same documents. `differences`: each rung minus the one below it, in bits per byte."""

    config: LadderConfig
    split: Split
    documents: int
    bytes: int
    recall_chance: float
    """Share of right answers that guessing gives."""
    rungs: tuple[Rung, ...]
    differences: tuple[Difference, ...]

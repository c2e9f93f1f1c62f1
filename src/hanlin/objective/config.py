"""`ObjectiveConfig`: one part of what a model is pre-trained on."""

from typing import Literal

from pydantic import Field

from hanlin.base.config import Settings

ObjectiveName = Literal["causal"]


class ObjectiveConfig(Settings):
    """One objective, on all sources of the corpus or on some, with its share of the steps."""

    kind: ObjectiveName
    """What is predicted."""
    weight: float = Field(1.0, gt=0)
    """Share of the steps, relative to the other parts."""
    sources: tuple[str, ...] = ()
    """Names of the sources of the corpus that this part learns from; default: all."""

"""`ObjectiveConfig`: one part of what a model is pre-trained on."""

from typing import Literal

from pydantic import Field, model_validator

from hanlin.base.config import Settings

ObjectiveName = Literal[
    "causal", "masked", "next-sentence", "sentence-order", "permutation", "spans", "prefix"
]

MASKED: tuple[ObjectiveName, ...] = ("masked", "next-sentence", "sentence-order")
"""The objectives that hide tokens."""

_OPTIONS: dict[str, tuple[ObjectiveName, ...]] = {
    "mask_share": MASKED,
    "whole_words": MASKED,
    "predicted_share": ("permutation",),
    "span_share": ("spans",),
    "span_length": ("spans",),
}
"""The objectives that each option belongs to."""


class ObjectiveConfig(Settings):
    """One objective, on all sources of the corpus or on some, with its share of the steps."""

    kind: ObjectiveName
    """What is predicted: the next token, hidden tokens, hidden tokens and whether a sentence follows or is in order,
    the last tokens of a random order, spans that were taken out, or what follows a prefix."""
    weight: float = Field(1.0, gt=0)
    """Share of the steps, relative to the other parts."""
    sources: tuple[str, ...] = ()
    """Names of the sources of the corpus that this part learns from; default: all."""
    mask_share: float = Field(0.15, gt=0, lt=1)
    """masked, next-sentence, sentence-order: share of the tokens that are chosen."""
    whole_words: bool = False
    """masked, next-sentence, sentence-order: whether words are chosen, all tokens of each, Chinese ones too."""
    predicted_share: float = Field(1 / 6, gt=0, le=1)
    """permutation: the last share of an order is predicted."""
    span_share: float = Field(0.15, gt=0, lt=1)
    """spans: share of the tokens that are taken out."""
    span_length: float = Field(3.0, ge=1)
    """spans: tokens of a span on average."""

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> "ObjectiveConfig":
        for option, kinds in _OPTIONS.items():
            default = type(self).model_fields[option].default
            if self.kind not in kinds and getattr(self, option) != default:
                raise ValueError(
                    f"{option} does nothing when kind is {self.kind}: it belongs to {', '.join(kinds)}"
                )
        return self

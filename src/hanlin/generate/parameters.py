"""What a request may ask for: length, randomness, where to stop."""

import difflib
from collections.abc import Mapping
from typing import Any

import annotated_types
from pydantic import Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from hanlin.base.config import Settings
from hanlin.base.errors import RequestError
from hanlin.base.language import Text


class SamplingParameters(Settings):
    """How one continuation is drawn. Filters apply in the order of `sampling.filter_logits`."""

    max_new_tokens: int = Field(default=128, ge=1)
    """The most tokens to generate; the window of the model may end it earlier."""

    temperature: float = Field(default=1.0, ge=0, le=1e6, allow_inf_nan=False)
    """Divides the logits; 0 always takes the likeliest token."""

    top_k: int = Field(default=0, ge=0)
    """Draw among the k likeliest tokens only; 0 for all."""

    top_p: float = Field(default=1.0, gt=0, le=1, allow_inf_nan=False)
    """Draw among the fewest likeliest tokens that together have this probability; 1 for all."""

    min_p: float = Field(default=0.0, ge=0, le=1, allow_inf_nan=False)
    """Draw among tokens at least this times as likely as the likeliest; 0 for all."""

    repetition_penalty: float = Field(default=1.0, gt=0, le=1e6, allow_inf_nan=False)
    """Above 1, tokens that occurred in prompt or text become less likely; 1 changes nothing."""

    stop: tuple[str, ...] = ()
    """Texts that end the generation; they are not part of the result."""

    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Same seed, same text. None draws a fresh one, which the result tells."""

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("stop")
    @classmethod
    def _not_empty(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(value):
            raise ValueError("a stop text is empty")
        return value

    def changed(self, changes: Mapping[str, Any]) -> "SamplingParameters":
        """These parameters with `changes`. Raises `RequestError` naming each wrong parameter and its
        range."""
        try:
            return SamplingParameters.model_validate({**self.model_dump(), **changes})
        except ValidationError as error:
            mistakes = [_describe(detail) for detail in error.errors()]
            raise RequestError(
                Text("\n".join(text.en for text in mistakes), "\n".join(text.zh for text in mistakes)),
                Text("Change the parameters above.", "请修改以上参数。"),
            ) from error


def _describe(detail: ErrorDetails) -> Text:
    name = str(detail["loc"][0])
    if detail["type"] == "extra_forbidden":
        known = list(SamplingParameters.model_fields)
        near = difflib.get_close_matches(name, known, 1, cutoff=0.5)
        names = ", ".join(known)
        return Text(
            f"There is no parameter {name}"
            + (f"; did you mean {near[0]}?" if near else f"; there are {names}."),
            f"没有参数 {name}" + (f"；是否想写 {near[0]}？" if near else f"；可用的参数有：{names}。"),
        )
    value = repr(detail["input"])[:80]
    permitted = permitted_range(name)
    return Text(
        f"{name} = {value}: {detail['msg']}" + (f" ({name} {permitted})." if permitted else "."),
        f"{name} = {value} 无效"
        + (
            f"（须满足 {name} {permitted.replace(' and ', ' 且 ')}）。"
            if permitted
            else f"：{detail['msg']}。"
        ),
    )


def permitted_range(name: str) -> str:
    """The range of a numeric parameter, as "> 0 and <= 1"; empty for the others."""
    bounds = []
    for constraint in SamplingParameters.model_fields[name].metadata:
        match constraint:
            case annotated_types.Ge(ge=bound):
                bounds.append(f">= {bound:g}")
            case annotated_types.Gt(gt=bound):
                bounds.append(f"> {bound:g}")
            case annotated_types.Le(le=bound):
                bounds.append(f"<= {bound:g}")
            case annotated_types.Lt(lt=bound):
                bounds.append(f"< {bound:g}")
    return " and ".join(bounds)

"""What a request may ask for: length, randomness, what may and may not be written, where to stop."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, StrictBool, ValidationError, field_validator, model_validator

from hanlin.base.config import Settings
from hanlin.base.errors import RequestError
from hanlin.base.language import Text
from hanlin.generate.parameter_errors import describe, mistake

ConstraintKind = Literal["json_schema", "regex", "grammar", "choices"]
CONSTRAINTS: tuple[ConstraintKind, ...] = ("json_schema", "regex", "grammar", "choices")


class SamplingParameters(Settings):
    """How one continuation is drawn. What applies in which order is said in `sampling.choose`.

    At temperature 0 the filters (top_k, top_p, min_p, typical_p) and the seed are permitted and change nothing: none of
    them takes the likeliest token away from a distribution that has no other.
    """

    max_new_tokens: int = Field(default=128, ge=1)
    """The most tokens to generate; the window of the model may end it earlier."""

    min_new_tokens: int = Field(default=0, ge=0)
    """No end token before so many others; stop texts and complete constraints end a text all the same."""

    temperature: float = Field(default=1.0, ge=0, le=1e6, allow_inf_nan=False)
    """Divides the logits; 0 always takes the likeliest token."""

    top_k: int = Field(default=0, ge=0)
    """Draw among the k likeliest tokens only; 0 for all."""

    top_p: float = Field(default=1.0, gt=0, le=1, allow_inf_nan=False)
    """Draw among the fewest likeliest tokens that together have this probability; 1 for all."""

    min_p: float = Field(default=0.0, ge=0, le=1, allow_inf_nan=False)
    """Draw among tokens at least this times as likely as the likeliest; 0 for all."""

    typical_p: float = Field(default=1.0, gt=0, le=1, allow_inf_nan=False)
    """Draw among the tokens of most expected surprise that together have this probability; 1 for all."""

    repetition_penalty: float = Field(default=1.0, ge=0.01, le=100, allow_inf_nan=False)
    """Above 1, tokens that occurred in prompt or text become less likely; 1 changes nothing."""

    frequency_penalty: float = Field(default=0.0, ge=-2, le=2, allow_inf_nan=False)
    """Taken from a token's logit for each time that it occurs in the text so far."""

    presence_penalty: float = Field(default=0.0, ge=-2, le=2, allow_inf_nan=False)
    """Taken from the logits of tokens that occur in the text so far."""

    logit_bias: dict[int | str, float] = Field(default_factory=dict)
    """Added to logits: by token id, or by a text that is one token; from -100 to 100."""

    no_repeat_ngram: int = Field(default=0, ge=0)
    """So many tokens in a row never occur twice in prompt and text; 0 permits it."""

    bad_words: tuple[str, ...] = ()
    """Texts that are never written, however they are cut into tokens."""

    stop: tuple[str, ...] = ()
    """Texts that end the generation; they are not part of the result."""

    stop_ids: tuple[int, ...] = ()
    """Tokens that end the generation, beside the model's own; they are not part of the text."""

    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Same seed, same text. None draws a fresh one, which the result tells."""

    log_probabilities: int | None = Field(default=None, ge=0, le=1000)
    """Tell each token's log-probability, and those of so many likeliest tokens in its place; None tells none."""

    json_schema: dict[str, Any] | StrictBool | None = None
    """The text is JSON that satisfies this schema, given as an object, true, or their JSON text."""

    regex: str | None = None
    """The whole text matches this regular expression."""

    grammar: str | None = None
    """The text is one of this grammar, in the notation of Lark; it begins at the rule `start`."""

    choices: tuple[str, ...] | None = None
    """The text is exactly one of these."""

    @field_validator("stop", "bad_words", "choices", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("stop_ids", mode="before")
    @classmethod
    def _one_or_many_ids(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) else value

    @field_validator("stop", "bad_words", "choices")
    @classmethod
    def _not_empty(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and not all(value):
            raise mistake("one of the texts is empty", "其中有空文本")
        return value

    @field_validator("choices")
    @classmethod
    def _some_choice(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value == ():
            raise mistake("there is nothing to choose from", "没有可选的文本")
        return value

    @field_validator("logit_bias")
    @classmethod
    def _bounded(cls, value: dict[int | str, float]) -> dict[int | str, float]:
        if not all(-100 <= bias <= 100 for bias in value.values()):
            raise mistake("a bias must be >= -100 and <= 100", "偏置须满足 >= -100 且 <= 100")
        return value

    @field_validator("json_schema", mode="before")
    @classmethod
    def _parsed(cls, value: Any) -> Any:
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise mistake(f"is not JSON: {error}", f"不是有效的 JSON：{error}") from error
        if value is not None and not isinstance(value, dict | bool):
            raise mistake("a schema is a JSON object, true or false", "模式须为 JSON 对象、true 或 false")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "SamplingParameters":
        if self.min_new_tokens > self.max_new_tokens:
            raise mistake(
                f"min_new_tokens = {self.min_new_tokens} is more than max_new_tokens = {self.max_new_tokens}",
                f"min_new_tokens = {self.min_new_tokens} 大于 max_new_tokens = {self.max_new_tokens}",
            )
        given = [name for name in CONSTRAINTS if getattr(self, name) is not None]
        if len(given) > 1:
            raise mistake(
                f"{' and '.join(given)} exclude each other: give one", f"{'、'.join(given)} 只能给出其中一个"
            )
        never = [choice for choice in self.choices or () if not any(bad in choice for bad in self.bad_words)]
        if self.choices is not None and not never:
            raise mistake("bad_words forbid every one of the choices", "bad_words 禁止了 choices 中的每一项")
        return self

    @property
    def constraint(self) -> ConstraintKind | None:
        """Which of the parameters that constrain the text is given."""
        return next((name for name in CONSTRAINTS if getattr(self, name) is not None), None)

    def changed(self, changes: Mapping[str, Any]) -> "SamplingParameters":
        """These parameters with `changes`. Raises `RequestError` naming each wrong parameter and its
        range, and those that contradict each other."""
        try:
            return SamplingParameters.model_validate({**self.model_dump(), **changes})
        except ValidationError as error:
            mistakes = [describe(detail, SamplingParameters) for detail in error.errors()]
            raise RequestError(
                Text("\n".join(text.en for text in mistakes), "\n".join(text.zh for text in mistakes)),
                Text("Change the parameters above.", "请修改以上参数。"),
            ) from error

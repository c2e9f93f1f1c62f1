"""How the likeliest texts are looked for, and what a caller may not ask of such a search."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from hanlin.base.config import Settings
from hanlin.base.errors import RequestError
from hanlin.base.language import Text
from hanlin.generate.parameter_errors import describe, mistake
from hanlin.generate.parameters import SamplingParameters


class BeamConfig(Settings):
    """How the likeliest text is looked for."""

    beams: int = Field(4, ge=1, le=256)
    """Hypotheses that are followed at once; 1 takes the likeliest token at each step (greedy)."""
    best: int | None = Field(None, ge=1)
    """How many texts of each source come out, best first; all that were found where it is not said."""
    length_penalty: float = Field(1.0, ge=-10, le=10, allow_inf_nan=False)
    """A hypothesis of n tokens scores its log-probability / n to this power; 0 favours short ones."""
    early_stopping: bool | Literal["never"] = False
    """true: stop once as many have ended as there are beams. false: when no running one, at its present length, scores
    above the worst ended one. never: when none can."""
    no_repeat_ngram: int = Field(0, ge=0)
    """No run of so many tokens comes twice in a text; 0: any may (arXiv 1705.04304, section 2.5)."""
    bad_words: tuple[str, ...] = ()
    """Texts that are never written, however they are cut into tokens."""
    min_new_tokens: int = Field(0, ge=0)
    """A text does not end before it has so many tokens."""
    groups: int = Field(1, ge=1)
    """Beams are divided into so many groups, each of which avoids what those before it write (arXiv 1610.02424)."""
    diversity: float = Field(0.0, ge=0, allow_inf_nan=False)
    """What a token costs a group, in nats, for each beam of the groups before it that writes it at the same step."""

    @property
    def beams_of_group(self) -> int:
        """K: beams of one group."""
        return self.beams // self.groups

    @field_validator("bad_words", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "BeamConfig":
        if self.beams % self.groups:
            raise mistake(
                f"beams = {self.beams} cannot be divided into groups = {self.groups} of equal size",
                f"beams = {self.beams} 不能均分为 groups = {self.groups} 组",
            )
        if self.diversity and self.groups == 1:
            raise mistake(
                f"diversity = {self.diversity:g} does nothing in one group; let groups be 2 or more",
                f"只有一组时 diversity = {self.diversity:g} 不起作用；请将 groups 设为 2 或以上",
            )
        if self.best is not None and self.best > self.beams:
            raise mistake(
                f"best = {self.best} texts cannot come of beams = {self.beams}",
                f"beams = {self.beams} 不可能得到 best = {self.best} 个文本",
            )
        if not all(self.bad_words):
            raise mistake("bad_words holds an empty text", "bad_words 中有空文本")
        return self

    def check_length(self, max_new_tokens: int) -> None:
        """Raise `RequestError` where a text would have to be longer than it may be."""
        if self.min_new_tokens > max_new_tokens:
            raise RequestError(
                Text(
                    f"min_new_tokens = {self.min_new_tokens} is more than max_new_tokens = {max_new_tokens}.",
                    f"min_new_tokens = {self.min_new_tokens} 大于 max_new_tokens = {max_new_tokens}。",
                ),
                Text("Lower the first, or raise the second.", "请减小前者，或增大后者。"),
            )

    @classmethod
    def chosen(cls, settings: Mapping[str, Any]) -> "BeamConfig":
        """Of what a caller asked for. Raises `RequestError` naming each wrong setting, with its range where it has one,
        and what belongs to drawing texts token by token."""
        foreign = [name for name in settings if name in _OF_DRAWING]
        if foreign:
            raise _of_drawing(foreign)
        try:
            return cls.model_validate(dict(settings))
        except ValidationError as error:
            mistakes = [describe(detail, cls) for detail in error.errors()]
            raise RequestError(
                Text("\n".join(text.en for text in mistakes), "\n".join(text.zh for text in mistakes)),
                Text("Change the settings above.", "请修改以上设置。"),
            ) from error


_OF_DRAWING = set(SamplingParameters.model_fields) - set(BeamConfig.model_fields)


def _of_drawing(names: Sequence[str]) -> RequestError:
    en, zh = ", ".join(names), "、".join(names)
    return RequestError(
        Text(
            f"Beam search has no {en}: it follows the likeliest texts, and draws no token by itself.",
            f"束搜索没有 {zh}：它跟踪概率最大的若干文本，而不是逐个抽取词元。",
        ),
        Text(f"Leave out {en}, or generate without beams.", f"请去掉 {zh}，或不用束搜索生成。"),
    )

"""How a request wants its texts drawn: the OpenAI API's fields, extensions, and what they are to our sampling."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator

from hanlin.serve.body import Body, mistake

MAX_STOPS = 16
MAX_TOP = 20
"""The most likeliest tokens that can be told beside each token."""
INT64 = 2**63

_OURS = {"min_tokens": "min_new_tokens", "stop_token_ids": "stop_ids"}
_SAME = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "bad_words",
    "regex",
    "grammar",
    "choices",
)


def _list_texts(value: Any) -> Any:
    texts = [value] if isinstance(value, str) else value
    if texts is None:
        return []
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise mistake("stop_type", "must be a non-empty string or a list of them", "必须是非空字符串或其列表")
    if len(texts) > MAX_STOPS:
        raise mistake("too_long", f"may hold at most {MAX_STOPS} strings", f"最多 {MAX_STOPS} 个字符串")
    return texts


Texts = Annotated[
    list[str], BeforeValidator(_list_texts), WithJsonSchema({"type": ["string", "array", "null"]})
]


class SamplingFields(Body):
    """What both endpoints share."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    """0 takes the likeliest token; 1 samples from the model's own distribution."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Sample from the likeliest tokens that together have this probability."""
    top_k: int | None = Field(default=None, ge=0, lt=INT64)
    """Extension: sample from the k likeliest tokens; 0 is off."""
    min_p: float | None = Field(default=None, ge=0, le=1)
    """Extension: drop tokens less likely than this share of the likeliest one."""
    typical_p: float | None = Field(default=None, gt=0, le=1)
    """Extension: sample from the tokens of most expected surprise that together have this probability."""
    repetition_penalty: float | None = Field(default=None, ge=0.01, le=10)
    """Extension: above 1 makes tokens that occurred less likely."""
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    """Taken from the logits of tokens that the text so far has."""
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    """Taken from a token's logit for each time that the text so far has it."""
    logit_bias: dict[str, float] | None = Field(default=None, max_length=1024)
    """Added to the logits of tokens, by id: from -100 to 100."""
    bad_words: Texts = Field(default_factory=list)
    """Extension: texts that are never written."""
    min_tokens: int | None = Field(default=None, ge=0, lt=INT64)
    """Extension: no end token before so many others."""
    stop: Texts = Field(default_factory=list)
    """Strings at which generation ends; they are not part of the text."""
    stop_token_ids: list[int] | None = Field(default=None, max_length=MAX_STOPS)
    """Extension: tokens that end generation."""
    seed: int | None = Field(default=None, ge=-INT64, lt=INT64)
    """Same seed, same request, same text."""
    regex: str | None = None
    """Extension: the whole text matches this regular expression."""
    grammar: str | None = None
    """Extension: the whole text is of this Lark grammar."""
    choices: list[str] | None = Field(default=None, min_length=1)
    """Extension: the whole text is one of these."""

    @field_validator("logit_bias")
    @classmethod
    def _by_id(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        for id, bias in (value or {}).items():
            if not id.isdecimal() or not id.isascii() or not -100 <= bias <= 100:
                raise mistake(
                    "invalid_value",
                    "must map token ids to numbers from -100 to 100",
                    "必须是从词元编号到 -100 至 100 之间数值的映射",
                )
        return value

    def parameters(self) -> dict[str, Any]:
        """What is set, by the names of `SamplingParameters`; without seed and lengths."""
        given = {name: getattr(self, name) for name in _SAME} | {
            ours: getattr(self, theirs) for theirs, ours in _OURS.items()
        }
        given["logit_bias"] = {int(id): bias for id, bias in (self.logit_bias or {}).items()} or None
        return {name: value for name, value in given.items() if value not in (None, [])} | {"stop": self.stop}


class PlainText(Body):
    """Any text."""

    type: Literal["text"]


class JsonObject(Body):
    """Any JSON object."""

    type: Literal["json_object"]


class NamedSchema(Body):
    """A JSON schema. It is kept to whether `strict` or not."""

    name: str
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class JsonOfSchema(Body):
    """JSON that satisfies a schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat = Annotated[PlainText | JsonObject | JsonOfSchema, Field(discriminator="type")]


def schema_of(wanted: ResponseFormat | None) -> dict[str, Any]:
    """The parameters of a response format."""
    match wanted:
        case JsonObject():
            return {"json_schema": {"type": "object"}}
        case JsonOfSchema():
            return {"json_schema": wanted.json_schema.schema_}
        case _:
            return {}

"""Bodies of requests, as the OpenAI API defines them, and what of it this server does not do.

Numbers are strict ("5" is not 5). An unknown field is refused, as the OpenAI API does. A known field that
this server cannot honour is accepted only with the value that asks for nothing. `top_k`, `min_p`,
`repetition_penalty`, `truncation` and `stream_options.continuous_usage_stats` are extensions.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

MAX_STOPS = 16
MAX_MESSAGES = 2048
"""The time to render a conversation grows with the square of its turns: this many take about a second."""
INT64 = 2**63


def _mistake(kind: str, en: str, zh: str) -> PydanticCustomError:
    # The message reaches the error as a template, so braces in it must not be read as fields.
    return PydanticCustomError(kind, "{en}", {"en": en, "zh": zh})


def _only(*neutral: Any) -> AfterValidator:
    """Refuse every value but None and those that ask for nothing."""

    def check(value: Any) -> Any:
        if value is not None and value not in neutral:
            raise _mistake("unsupported_parameter", "is not supported", "不受支持")
        return None

    return AfterValidator(check)


def _join_parts(value: Any) -> Any:
    """Text as it is, or the texts of `[{"type": "text", "text": ...}]` joined."""
    if not isinstance(value, list):
        return value
    texts = []
    for part in value:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind in ("image_url", "input_image", "input_audio", "file", "video_url"):
            raise _mistake(
                "unsupported_content",
                f"has a part of type {kind}, but this model reads only text",
                f"含有 {kind} 类型的内容，但该模型只能读文字",
            )
        else:
            raise _mistake(
                "content_type",
                'must be a string or a list of {"type": "text", "text": "..."}',
                '必须是字符串，或由 {"type": "text", "text": "..."} 组成的列表',
            )
    return "".join(texts)


def _list_stops(value: Any) -> Any:
    stops = [value] if isinstance(value, str) else value
    if stops is None:
        return []
    if not isinstance(stops, list) or not all(isinstance(stop, str) and stop for stop in stops):
        raise _mistake(
            "stop_type", "must be a non-empty string or a list of them", "必须是非空字符串或其列表"
        )
    if len(stops) > MAX_STOPS:
        raise _mistake("too_long", f"may hold at most {MAX_STOPS} strings", f"最多 {MAX_STOPS} 个字符串")
    return stops


def _list_prompts(value: Any) -> Any:
    """One prompt or many, each a string or token ids, as a list of prompts."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value:
        if all(isinstance(item, str) for item in value):
            return value
        if all(type(item) is int for item in value):
            return [value]
        if all(isinstance(item, list) and item and all(type(part) is int for part in item) for item in value):
            return value
    raise _mistake(
        "prompt_type",
        "must be a string, a list of strings, a list of token ids, or a list of such lists, not empty",
        "必须是字符串、字符串列表、词元编号列表或这种列表的列表，且不能为空",
    )


Content = Annotated[str, BeforeValidator(_join_parts), WithJsonSchema({"type": ["string", "array"]})]
Stops = Annotated[
    list[str], BeforeValidator(_list_stops), WithJsonSchema({"type": ["string", "array", "null"]})
]
Prompts = Annotated[
    list[str | list[int]], BeforeValidator(_list_prompts), WithJsonSchema({"type": ["string", "array"]})
]


class Body(BaseModel):
    """Base of request bodies: strict, frozen, nothing unknown."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class StreamOptions(Body):
    """What a stream carries besides text."""

    include_usage: bool = False
    """Send one last chunk with the usage of the whole request."""
    continuous_usage_stats: bool = False
    """Extension: every chunk carries the usage so far."""
    include_obfuscation: bool | None = None
    """Accepted; this server never pads its chunks."""


class GenerationBody(Body):
    """What both endpoints share."""

    model: str
    """Name of the model, as /v1/models gives it."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Largest number of new tokens."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """0 takes the likeliest token; 1 samples from the model's own distribution."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Sample from the likeliest tokens that together have this probability."""
    top_k: int | None = Field(default=None, ge=0, lt=INT64)
    """Extension: sample from the k likeliest tokens; 0 is off."""
    min_p: float | None = Field(default=None, ge=0, le=1)
    """Extension: drop tokens less likely than this share of the likeliest one."""
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    """Extension: above 1 makes tokens that occurred less likely."""
    stop: Stops = []
    """Strings at which generation ends; they are not part of the text."""
    seed: int | None = Field(default=None, ge=-INT64, lt=INT64)
    """Same seed, same request, same text."""
    n: int | None = Field(default=None, ge=1, le=128)
    """Texts for each prompt."""
    stream: bool | None = None
    """Send the text piece by piece as server-sent events."""
    stream_options: StreamOptions | None = None
    """Only with stream."""
    truncation: Literal["disabled", "auto"] | None = None
    """Extension (as in /v1/responses): auto drops the oldest turns, or the start of a prompt, that do not fit."""

    user: str | None = None
    """Accepted; this server keeps nothing about users."""
    metadata: dict[str, str] | None = None
    """Accepted; nothing is stored."""
    safety_identifier: str | None = None
    """Accepted; this server keeps nothing about users."""
    prompt_cache_key: str | None = None
    """Accepted; there is no prompt cache to choose."""
    service_tier: Annotated[Any, _only("auto", "default")] = None
    """Only one tier."""
    presence_penalty: Annotated[Any, _only(0)] = None
    """Not supported."""
    frequency_penalty: Annotated[Any, _only(0)] = None
    """Not supported."""
    logit_bias: Annotated[Any, _only({})] = None
    """Not supported."""

    @field_validator("stream_options")
    @classmethod
    def _only_with_stream(cls, value: StreamOptions | None, info: ValidationInfo) -> StreamOptions | None:
        if value is not None and not info.data.get("stream"):
            raise _mistake(
                "stream_options", "may only be set when stream is true", "只能在 stream 为 true 时使用"
            )
        return value

    @property
    def includes_usage(self) -> bool:
        """Whether the stream ends with a usage chunk."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def counts_as_it_goes(self) -> bool:
        """Whether every chunk carries the usage so far."""
        return self.stream_options is not None and self.stream_options.continuous_usage_stats


class CompletionBody(GenerationBody):
    """Body of POST /v1/completions."""

    prompt: Prompts
    """Text to continue."""
    echo: Annotated[Any, _only(False)] = None
    """Not supported."""
    suffix: Annotated[Any, _only("")] = None
    """Not supported."""
    best_of: Annotated[Any, _only(1)] = None
    """Not supported."""
    logprobs: Annotated[Any, _only()] = None
    """Not supported."""


class ChatMessage(Body):
    """One turn of the conversation; `developer` is another word for `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Content
    name: str | None = None
    """Accepted; the model is not told."""
    refusal: Annotated[Any, _only("")] = None
    tool_calls: Annotated[Any, _only([])] = None
    function_call: Annotated[Any, _only()] = None
    annotations: Annotated[Any, _only([])] = None
    audio: Annotated[Any, _only()] = None


class ChatBody(GenerationBody):
    """Body of POST /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    """The whole conversation so far."""
    max_completion_tokens: int | None = Field(default=None, ge=1)
    """The newer name of max_tokens."""
    logprobs: Annotated[Any, _only(False)] = None
    """Not supported."""
    top_logprobs: Annotated[Any, _only(0)] = None
    """Not supported."""
    response_format: Annotated[Any, _only({"type": "text"})] = None
    """Only text."""
    tools: Annotated[Any, _only([])] = None
    """Not supported."""
    tool_choice: Annotated[Any, _only("none", "auto")] = None
    """Not supported."""
    parallel_tool_calls: bool | None = None
    """Accepted; there are no tools."""
    functions: Annotated[Any, _only([])] = None
    """Not supported."""
    function_call: Annotated[Any, _only("none", "auto")] = None
    """Not supported."""
    modalities: Annotated[Any, _only(["text"])] = None
    """Only text."""
    audio: Annotated[Any, _only()] = None
    """Not supported."""
    prediction: Annotated[Any, _only()] = None
    """Not supported."""
    reasoning_effort: Annotated[Any, _only("none")] = None
    """Not supported."""
    verbosity: Annotated[Any, _only("medium")] = None
    """Not supported."""
    web_search_options: Annotated[Any, _only()] = None
    """Not supported."""
    store: Annotated[Any, _only(False)] = None
    """Nothing is stored."""

"""Bodies of requests, as the OpenAI API defines them, and what of it this server does not do.

Numbers are strict ("5" is not 5). An unknown field is refused, as the OpenAI API does. A known field that
this server cannot honour is accepted only with the value that asks for nothing. `truncation`,
`stream_options.continuous_usage_stats` and those that say so are extensions.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator, model_validator

from hanlin.serve.body import Body, mistake, only
from hanlin.serve.sampling_fields import MAX_TOP, ResponseFormat, SamplingFields, schema_of
from hanlin.serve.tool_grammar import tool_grammar
from hanlin.serve.tools import Function, MadeCall, ToolChoice, Tools, check_choice, offered

MAX_MESSAGES = 2048
"""The time to render a conversation grows with the square of its turns: this many take about a second."""


def _join_parts(value: Any) -> Any:
    """Text as it is, or the texts of `[{"type": "text", "text": ...}]` joined."""
    if not isinstance(value, list):
        return value
    texts = []
    for part in value:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in ("text", "input_text", "output_text") and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind in ("image_url", "input_image", "input_audio", "file", "video_url"):
            raise mistake(
                "unsupported_content",
                f"has a part of type {kind}, but this model reads only text",
                f"含有 {kind} 类型的内容，但该模型只能读文字",
            )
        else:
            raise mistake(
                "content_type",
                'must be a string or a list of {"type": "text", "text": "..."}',
                '必须是字符串，或由 {"type": "text", "text": "..."} 组成的列表',
            )
    return "".join(texts)


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
    raise mistake(
        "prompt_type",
        "must be a string, a list of strings, a list of token ids, or a list of such lists, not empty",
        "必须是字符串、字符串列表、词元编号列表或这种列表的列表，且不能为空",
    )


Content = Annotated[str, BeforeValidator(_join_parts), WithJsonSchema({"type": ["string", "array"]})]
Prompts = Annotated[
    list[str | list[int]], BeforeValidator(_list_prompts), WithJsonSchema({"type": ["string", "array"]})
]


class StreamOptions(Body):
    """What a stream carries besides text."""

    include_usage: bool = False
    """Send one last chunk with the usage of the whole request."""
    continuous_usage_stats: bool = False
    """Extension: every chunk carries the usage so far."""
    include_obfuscation: bool | None = None
    """Accepted; this server never pads its chunks."""


class GenerationBody(SamplingFields):
    """What both endpoints share."""

    model: str
    """Name of the model, as /v1/models gives it."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Largest number of new tokens."""
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
    service_tier: Annotated[Any, only("auto", "default")] = None
    """Only one tier."""

    @field_validator("stream_options")
    @classmethod
    def _only_with_stream(cls, value: StreamOptions | None, info: ValidationInfo) -> StreamOptions | None:
        if value is not None and not info.data.get("stream"):
            raise mistake(
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

    @property
    def log_probabilities(self) -> int | None:
        """How many likeliest tokens are to be told beside each token; None tells of none."""
        raise NotImplementedError


class CompletionBody(GenerationBody):
    """Body of POST /v1/completions."""

    prompt: Prompts
    """Text to continue."""
    echo: Annotated[Any, only(False)] = None
    """Not supported."""
    suffix: Annotated[Any, only("")] = None
    """Not supported."""
    best_of: Annotated[Any, only(1)] = None
    """Not supported."""
    logprobs: int | None = Field(default=None, ge=0, le=MAX_TOP)
    """Tell each token's log-probability, and so many likeliest tokens in its place."""

    @property
    def log_probabilities(self) -> int | None:
        """See `GenerationBody`."""
        return self.logprobs


class ChatMessage(Body):
    """One turn of the conversation; `developer` is another word for `system`, `tool` brings the result of a call."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content
    name: str | None = None
    """Accepted; the model is not told."""
    refusal: Annotated[Any, only("")] = None
    tool_calls: list[MadeCall] | None = None
    """Calls that the assistant made."""
    tool_call_id: str | None = None
    """Of role tool: which call this is the result of."""
    function_call: Annotated[Any, only()] = None
    annotations: Annotated[Any, only([])] = None
    audio: Annotated[Any, only()] = None

    @model_validator(mode="before")
    @classmethod
    def _calls_need_no_words(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("tool_calls") and value.get("content") is None:
            return {**value, "content": ""}
        return value


class ChatBody(GenerationBody):
    """Body of POST /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    """The whole conversation so far."""
    max_completion_tokens: int | None = Field(default=None, ge=1)
    """The newer name of max_tokens."""
    logprobs: bool | None = None
    """Tell each token's log-probability."""
    top_logprobs: int | None = Field(default=None, ge=0, le=MAX_TOP)
    """So many likeliest tokens in its place; only with logprobs."""
    response_format: ResponseFormat | None = None
    """Any text, any JSON object, or JSON of a schema."""
    tools: Tools | None = None
    """Functions that may be called."""
    tool_choice: ToolChoice | None = None
    """Whether one is called: none, auto, required, or one by name. Default: auto."""
    parallel_tool_calls: bool | None = None
    """false: at most one call. Default: true."""
    functions: Annotated[Any, only([])] = None
    """Not supported."""
    function_call: Annotated[Any, only("none", "auto")] = None
    """Not supported."""
    modalities: Annotated[Any, only(["text"])] = None
    """Only text."""
    audio: Annotated[Any, only()] = None
    """Not supported."""
    prediction: Annotated[Any, only()] = None
    """Not supported."""
    reasoning_effort: Annotated[Any, only("none")] = None
    """Not supported."""
    verbosity: Annotated[Any, only("medium")] = None
    """Not supported."""
    web_search_options: Annotated[Any, only()] = None
    """Not supported."""
    store: Annotated[Any, only(False)] = None
    """Nothing is stored."""

    @field_validator("top_logprobs")
    @classmethod
    def _only_with_logprobs(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value and not info.data.get("logprobs"):
            raise mistake(
                "top_logprobs", "may only be set when logprobs is true", "只能在 logprobs 为 true 时使用"
            )
        return value

    @field_validator("tools")
    @classmethod
    def _the_only_constraint(cls, value: Tools | None, info: ValidationInfo) -> Tools | None:
        other = next((name for name in ("regex", "grammar", "choices") if info.data.get(name)), None)
        if value and other is not None:
            raise mistake("invalid_value", f"cannot be used with {other}", f"不能与 {other} 一起使用")
        return value

    @field_validator("tool_choice")
    @classmethod
    def _one_that_is_there(cls, value: ToolChoice | None, info: ValidationInfo) -> ToolChoice | None:
        if "tools" in info.data:  # else these are wrong, which is told
            check_choice(info.data["tools"], value)
        return value

    @property
    def callables(self) -> list[Function]:
        """What the model may call."""
        return offered(self.tools, self.tool_choice)

    @property
    def log_probabilities(self) -> int | None:
        """See `GenerationBody`."""
        return (self.top_logprobs or 0) if self.logprobs else None

    def parameters(self) -> dict[str, Any]:
        """With the response format, or with the grammar of calls and what stands beside them."""
        form = schema_of(self.response_format)
        if not self.callables:
            return super().parameters() | form
        named = not isinstance(self.tool_choice, str | None)
        must, several = (
            named or self.tool_choice == "required",
            not named and self.parallel_tool_calls is not False,
        )
        return super().parameters() | {
            "grammar": tool_grammar(self.callables, must, several, form.get("json_schema"))
        }

"""Bodies of answers, as the OpenAI API defines them: whole ones, and the frames of a stream."""

import json
import time
import uuid
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from hanlin.serve.tool_grammar import Argued, Called, FinishReason

DONE = b"data: [DONE]\n\n"
"""The frame that ends every stream."""

# Some clients split lines at these too, so they travel escaped.
_LINE_ENDS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}


class Reply(BaseModel):
    """Base of answer bodies."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Usage(Reply):
    """Tokens of a request: of its prompts and of all its new texts."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, prompt_tokens: int, new_tokens: int) -> "Usage":
        """Usage from the two counts."""
        return cls(
            prompt_tokens=prompt_tokens, completion_tokens=new_tokens, total_tokens=prompt_tokens + new_tokens
        )


class TokenLogprob(Reply):
    """A token and the natural logarithm of its probability, before temperature, penalties and filters."""

    token: str
    logprob: float
    bytes: list[int]


class ChatToken(TokenLogprob):
    """A token of a text, and the likeliest in its place."""

    top_logprobs: list[TokenLogprob]


class ChatLogprobs(Reply):
    """Those of an answer."""

    content: list[ChatToken]
    refusal: None = None


class CompletionLogprobs(Reply):
    """Those of a continuation; `text_offset`: where each token begins in the text, in characters."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


Logprobs = ChatLogprobs | CompletionLogprobs


class CompletionChoice(Reply):
    """One continuation."""

    text: str
    index: int
    logprobs: CompletionLogprobs | None = None
    finish_reason: FinishReason


class Completion(Reply):
    """Answer of POST /v1/completions."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage


class AssistantMessage(Reply):
    """What the model said."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    """null: it only calls."""
    tool_calls: list["ToolCall"] | None = None
    refusal: None = None


class FunctionCall(Reply):
    """Which function, and its arguments as JSON text."""

    name: str
    arguments: str


class ToolCall(Reply):
    """A call that the caller is asked to make."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class ChatChoice(Reply):
    """One answer."""

    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None = None
    finish_reason: FinishReason


class ChatCompletion(Reply):
    """Answer of POST /v1/chat/completions."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class ModelCard(Reply):
    """One model; `window` is the most tokens that a prompt and its continuation may have together."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["hanlin"] = "hanlin"
    window: int


class ModelList(Reply):
    """Answer of GET /v1/models."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class TaskCard(Reply):
    """One task: where it is asked, the labels that it knows, and the schemas of what is asked and answered."""

    id: str
    object: Literal["task"] = "task"
    kind: str
    model: str
    method: str
    labels: tuple[str, ...]
    url: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]


class TaskList(Reply):
    """Answer of GET /v1/tasks."""

    object: Literal["list"] = "list"
    data: list[TaskCard]


class Health(Reply):
    """Answer of GET /health; `model` is null where only tasks are served."""

    status: Literal["ok"] = "ok"
    model: str | None
    tasks: list[str] = []
    running: int


class ErrorDetail(Reply):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorReply(Reply):
    """Every answer that is not 2xx."""

    error: ErrorDetail


class Frames:
    """Server-sent events of one stream; `chat` chooses between the two endpoints' chunks."""

    def __init__(self, model: str, chat: bool) -> None:
        self._chat = chat
        self._head: dict[str, Any] = {
            "id": new_id(chat),
            "object": "chat.completion.chunk" if chat else "text_completion",
            "created": int(time.time()),
            "model": model,
        }

    def opening(self, index: int, usage: dict[str, Any], content: str | None = "") -> bytes:
        """Who speaks: the first chunk of a chat choice. content: None where it may be that nothing is said."""
        delta = {"role": "assistant", "content": content, "refusal": None}
        return self._frame([self._choice(index, {"delta": delta}, None)], usage)

    def piece(self, index: int, text: str, usage: dict[str, Any], logprobs: Logprobs | None = None) -> bytes:
        """Some text."""
        content: dict[str, Any] = {"delta": {"content": text}} if self._chat else {"text": text}
        told = {} if logprobs is None else {"logprobs": logprobs.model_dump()}
        return self._frame([self._choice(index, content, None) | told], usage)

    def call(
        self, index: int, part: Called | Argued, usage: dict[str, Any], logprobs: Logprobs | None = None
    ) -> bytes:
        """The beginning of a call, or more of its arguments."""
        delta: dict[str, Any] = {"index": part.number}
        if isinstance(part, Called):
            delta |= {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": ""}}
        else:
            delta["function"] = {"arguments": part.text}
        told = {} if logprobs is None else {"logprobs": logprobs.model_dump()}
        return self._frame([self._choice(index, {"delta": {"tool_calls": [delta]}}, None) | told], usage)

    def closing(self, index: int, finish_reason: str, usage: dict[str, Any]) -> bytes:
        """Why a choice ended."""
        content: dict[str, Any] = {"delta": {}} if self._chat else {"text": ""}
        return self._frame([self._choice(index, content, finish_reason)], usage)

    def usage(self, usage: dict[str, Any]) -> bytes:
        """The chunk without choices that tells the usage."""
        return self._frame([], usage)

    def _choice(self, index: int, content: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
        return {"index": index, **content, "logprobs": None, "finish_reason": finish_reason}

    def _frame(self, choices: list[dict[str, Any]], usage: dict[str, Any]) -> bytes:
        return frame({**self._head, "choices": choices, **usage})


def frame(value: dict[str, Any]) -> bytes:
    """One server-sent event whose data is `value` as JSON."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_LINE_ENDS)
    return f"data: {text}\n\n".encode()


def named_frame(name: str, value: dict[str, Any]) -> bytes:
    """The same with the name of its kind of event, as /v1/responses has them."""
    return f"event: {name}\n".encode() + frame(value)


def new_id(chat: bool) -> str:
    """A fresh id of an answer."""
    return f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}"

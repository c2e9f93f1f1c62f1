"""POST /v1/responses: the OpenAI API's newer form of a conversation, for text. It is a chat request in other words."""

import time
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema, field_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hanlin.serve.answers import CLIENT_GONE, EventStream, collect, unless_gone
from hanlin.serve.batcher import Submission
from hanlin.serve.body import Body, only
from hanlin.serve.problems import ApiProblem, from_validation
from hanlin.serve.replies import named_frame
from hanlin.serve.requests import MAX_MESSAGES, ChatBody, Content


class InputMessage(Body):
    """One turn of the input."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Content
    id: str | None = None
    """Accepted: an answer's own item may be sent back as it came."""
    status: str | None = None
    """Accepted."""
    phase: str | None = None
    """Accepted."""


class TextOptions(Body):
    """What the text is to be."""

    format: dict[str, Any] = Field(default_factory=lambda: {"type": "text"})
    """{"type": "text"}, {"type": "json_object"}, or {"type": "json_schema", "name": ..., "schema": ...}."""
    verbosity: Annotated[Any, only("medium")] = None
    """Not supported."""


class ResponsesBody(Body):
    """Body of POST /v1/responses."""

    model: str
    """Name of the model, as /v1/models gives it."""
    input: Annotated[
        list[InputMessage],
        BeforeValidator(
            lambda given: [{"role": "user", "content": given}] if isinstance(given, str) else given
        ),
        Field(min_length=1, max_length=MAX_MESSAGES),
        WithJsonSchema({"type": ["string", "array"]}),
    ]
    """A question, or a whole conversation."""
    instructions: str | None = None
    """What stands at the head of the conversation."""
    max_output_tokens: int | None = Field(default=None, ge=1)
    """Largest number of new tokens."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """0 takes the likeliest token; 1 samples from the model's own distribution."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Sample from the likeliest tokens that together have this probability."""
    stream: bool | None = None
    """Send events as the text comes."""
    text: TextOptions = TextOptions()
    """What the text is to be."""
    truncation: Literal["disabled", "auto"] | None = None
    """auto: leave out the oldest turns that do not fit."""
    metadata: dict[str, str] | None = None
    """Given back; nothing is stored."""
    user: str | None = None
    """Accepted."""
    safety_identifier: str | None = None
    """Accepted."""
    prompt_cache_key: str | None = None
    """Accepted: what prompts share is always read once."""
    service_tier: Annotated[Any, only("auto", "default")] = None
    """Only one tier."""
    store: bool | None = None
    """Accepted; answers are not stored here (see /v1/conversations)."""
    parallel_tool_calls: bool | None = None
    """Accepted; there are no tools."""
    previous_response_id: Annotated[Any, only()] = None
    """Not supported: send the conversation as input."""
    conversation: Annotated[Any, only()] = None
    """Not supported."""
    tools: Annotated[Any, only([])] = None
    """Not supported here: /v1/chat/completions has them."""
    tool_choice: Annotated[Any, only("none", "auto")] = None
    """Not supported."""
    include: Annotated[Any, only([])] = None
    """Not supported."""
    reasoning: Annotated[Any, only({})] = None
    """Not supported."""
    background: Annotated[Any, only(False)] = None
    """Not supported."""
    prompt: Annotated[Any, only()] = None
    """Not supported."""
    max_tool_calls: Annotated[Any, only()] = None
    """Not supported."""
    top_logprobs: Annotated[Any, only(0)] = None
    """Not supported here: /v1/chat/completions has them."""
    stream_options: Annotated[Any, only({}, {"include_obfuscation": False})] = None
    """Not supported."""

    @field_validator("stream_options", mode="before")
    @classmethod
    def _never_padded(cls, value: Any) -> Any:
        return None if value == {"include_obfuscation": True} else value

    def chat(self) -> ChatBody:
        """The same as a chat request. Raises `ApiProblem` for a format that it cannot have."""
        turns = [{"role": one.role, "content": one.content} for one in self.input]
        if self.instructions:
            turns.insert(0, {"role": "system", "content": self.instructions})
        given = {
            "model": self.model,
            "messages": turns,
            "max_completion_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "truncation": self.truncation,
            "stream": self.stream,
            "response_format": _chat_format(self.text.format),
        }
        try:
            return ChatBody.model_validate(given)
        except ValidationError as error:
            problem = from_validation(error.errors())
            if problem.param and problem.param.startswith("response_format"):
                problem.param = "text.format"
            raise problem from error


def _chat_format(given: dict[str, Any]) -> dict[str, Any] | None:
    """Chat requests have the schema one level deeper."""
    if given == {"type": "text"}:
        return None
    if given.get("type") != "json_schema":
        return given
    return {
        "type": "json_schema",
        "json_schema": {key: value for key, value in given.items() if key != "type"},
    }


async def respond(
    body: ResponsesBody, submission: Submission, request: Request, headers: dict[str, str], chinese: bool
) -> Response:
    """The answer in the form that `body` asks for."""
    told = _Response(body, submission)
    if body.stream:
        return EventStream(told.events(chinese), submission, headers)
    try:
        finished = await unless_gone(request, collect(submission))
    finally:
        submission.cancel()
    if finished is None:
        return Response(status_code=CLIENT_GONE)
    ((text, reason),) = finished
    return JSONResponse(told.whole(text, reason), headers=headers)


class _Response:
    """One answer: the object that stands in every event, as far as it has come."""

    def __init__(self, body: ResponsesBody, submission: Submission) -> None:
        self._body, self._submission = body, submission
        self._id, self._item = f"resp_{uuid.uuid4().hex}", f"msg_{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._number = -1

    def whole(self, text: str, reason: str) -> dict[str, Any]:
        """Of an answer that has ended."""
        cut = reason == "length"
        status = "incomplete" if cut else "completed"
        prompt, new = self._submission.prompt_tokens, self._submission.new_tokens
        return {
            **self._object(status),
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": [self._message(text, status)],
            "usage": {
                "input_tokens": prompt,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": new,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": prompt + new,
            },
        }

    async def events(self, chinese: bool) -> AsyncIterator[bytes]:
        """From "created" to "completed", "incomplete" or "failed"."""
        begun = self._object("in_progress")
        place = {"item_id": self._item, "output_index": 0, "content_index": 0}
        yield self._event("response.created", response=begun)
        yield self._event("response.in_progress", response=begun)
        item = {**self._message("", "in_progress"), "content": []}
        yield self._event("response.output_item.added", output_index=0, item=item)
        yield self._event("response.content_part.added", **place, part=_part(""))
        texts, reason = list[str](), "stop"
        try:
            async for event in self._submission.events():
                if event.text:
                    texts.append(event.text)
                    yield self._event("response.output_text.delta", **place, delta=event.text, logprobs=[])
                reason = event.finish_reason or reason
        except ApiProblem as problem:
            error = problem.body(chinese)["error"]
            failed = {"code": "server_error", "message": error["message"]}
            yield self._event("response.failed", response={**self._object("failed"), "error": failed})
            return
        text = "".join(texts)
        done = self.whole(text, reason)
        yield self._event("response.output_text.done", **place, text=text, logprobs=[])
        yield self._event("response.content_part.done", **place, part=_part(text))
        yield self._event("response.output_item.done", output_index=0, item=done["output"][0])
        yield self._event(f"response.{done['status']}", response=done)

    def _event(self, kind: str, **values: Any) -> bytes:
        self._number += 1
        return named_frame(kind, {"type": kind, "sequence_number": self._number, **values})

    def _message(self, text: str, status: str) -> dict[str, Any]:
        return {
            "type": "message",
            "id": self._item,
            "status": status,
            "role": "assistant",
            "content": [_part(text)],
        }

    def _object(self, status: str) -> dict[str, Any]:
        body = self._body
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "model": body.model,
            "output": [],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "store": False,
            "temperature": body.temperature,
            "text": {"format": body.text.format},
            "tool_choice": "auto",
            "tools": [],
            "top_p": body.top_p,
            "truncation": body.truncation or "disabled",
            "usage": None,
            "user": body.user,
            "metadata": body.metadata or {},
        }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

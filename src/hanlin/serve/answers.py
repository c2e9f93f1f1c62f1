"""From a submission to an HTTP answer: whole, or as server-sent events. A client that leaves cancels it."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from hanlin.serve.batcher import Submission
from hanlin.serve.problems import ApiProblem
from hanlin.serve.replies import (
    DONE,
    AssistantMessage,
    ChatChoice,
    ChatCompletion,
    Completion,
    CompletionChoice,
    FinishReason,
    Frames,
    Usage,
    frame,
    new_id,
)
from hanlin.serve.requests import ChatBody, GenerationBody

CLIENT_GONE = 499
"""Status in log and metrics of a request whose client left before the answer."""

T = TypeVar("T")


async def answer(
    body: GenerationBody, submission: Submission, request: Request, headers: dict[str, str], chinese: bool
) -> Response:
    """The answer to `body` in the form that it asks for."""
    chat = isinstance(body, ChatBody)
    if body.stream:
        return EventStream(_frames(body, submission, Frames(body.model, chat), chinese), submission, headers)
    try:
        finished = await _unless_gone(request, _collect(submission))
    finally:
        submission.cancel()
    if finished is None:
        return Response(status_code=CLIENT_GONE)
    usage = Usage.of(submission.prompt_tokens, submission.new_tokens)
    make = _chat_completion if chat else _completion
    return JSONResponse(make(body.model, finished, usage).model_dump(), headers=headers)


class EventStream(StreamingResponse):
    """A stream of frames that ends its submission when it ends, however that comes about."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncIterator[bytes], submission: Submission, headers: dict[str, str]) -> None:
        # A proxy that buffers would turn the stream into one late answer.
        super().__init__(frames, headers={**headers, "X-Accel-Buffering": "no"})
        self._submission = submission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the frames while the client listens."""
        try:
            await super().__call__(scope, receive, send)
        except ClientDisconnect:
            pass  # nobody is left to tell
        finally:
            self._submission.cancel()


async def _frames(
    body: GenerationBody, submission: Submission, frames: Frames, chinese: bool
) -> AsyncIterator[bytes]:
    def usage(final: bool = False) -> dict[str, Any]:
        if final or body.counts_as_it_goes:
            return {"usage": Usage.of(submission.prompt_tokens, submission.new_tokens).model_dump()}
        return {"usage": None} if body.includes_usage else {}

    try:
        if isinstance(body, ChatBody):
            for choice in submission.choices:
                yield frames.opening(choice.index, usage())
        async for event in submission.events():
            if event.text:
                yield frames.piece(event.index, event.text, usage())
            if event.finish_reason is not None:
                yield frames.closing(event.index, event.finish_reason, usage())
        if body.includes_usage:
            yield frames.usage(usage(final=True))
    except ApiProblem as problem:
        yield frame(problem.body(chinese))
    yield DONE


async def _collect(submission: Submission) -> list[tuple[str, FinishReason]]:
    """Text and finish reason of every choice."""
    texts: list[list[str]] = [[] for _ in submission.choices]
    reasons: list[FinishReason] = ["stop" for _ in submission.choices]
    async for event in submission.events():
        texts[event.index].append(event.text)
        if event.finish_reason is not None:
            reasons[event.index] = "length" if event.finish_reason == "length" else "stop"
    return [("".join(parts), reason) for parts, reason in zip(texts, reasons, strict=True)]


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`; None if the client left first."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        leaving.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _completion(model: str, finished: list[tuple[str, FinishReason]], usage: Usage) -> Completion:
    choices = [
        CompletionChoice(text=text, index=index, finish_reason=reason)
        for index, (text, reason) in enumerate(finished)
    ]
    return Completion(
        id=new_id(chat=False), created=int(time.time()), model=model, choices=choices, usage=usage
    )


def _chat_completion(model: str, finished: list[tuple[str, FinishReason]], usage: Usage) -> ChatCompletion:
    choices = [
        ChatChoice(index=index, message=AssistantMessage(content=text), finish_reason=reason)
        for index, (text, reason) in enumerate(finished)
    ]
    return ChatCompletion(
        id=new_id(chat=True), created=int(time.time()), model=model, choices=choices, usage=usage
    )

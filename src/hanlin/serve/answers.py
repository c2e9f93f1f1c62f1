"""From a submission to an HTTP answer: whole, or as server-sent events. A client that leaves cancels it."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from hanlin.generate.sampling import Chosen
from hanlin.serve.batcher import Submission
from hanlin.serve.log_probabilities import chat_logprobs, completion_logprobs
from hanlin.serve.problems import ApiProblem
from hanlin.serve.replies import (
    DONE,
    AssistantMessage,
    ChatChoice,
    ChatCompletion,
    Completion,
    CompletionChoice,
    Frames,
    FunctionCall,
    Logprobs,
    ToolCall,
    Usage,
    frame,
    new_id,
)
from hanlin.serve.requests import ChatBody, GenerationBody
from hanlin.serve.tool_grammar import Argued, Called, CallReader, FinishReason, Part, Said
from hanlin.tokenizer.tokenizer import Tokenizer

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
        finished = await unless_gone(request, collect(submission))
    finally:
        submission.cancel()
    if finished is None:
        return Response(status_code=CLIENT_GONE)
    usage = Usage.of(submission.prompt_tokens, submission.new_tokens)
    made = (
        _chat_completion(body, submission, finished, usage)
        if chat
        else _completion(body, submission, finished, usage)
    )
    return JSONResponse(made.model_dump(), headers=headers)


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
                yield frames.opening(choice.index, usage(), None if body.callables else "")
        offsets = [0 for _ in submission.choices]
        calls = isinstance(body, ChatBody) and bool(body.callables)
        readers = [CallReader(calls) for _ in submission.choices]
        async for event in submission.events():
            told = None
            if body.log_probabilities is not None:
                told = _stream_logprobs(body, event.chosen, submission.tokenizer, offsets[event.index])
                offsets[event.index] += len(event.text)
            reader = readers[event.index]
            for part in reader.read(event.text, last=event.finish_reason is not None):
                if isinstance(part, Said):
                    yield frames.piece(event.index, part.text, usage(), told)
                else:
                    yield frames.call(event.index, part, usage(), told)
                told = None  # once is enough
            if told is not None:
                yield frames.piece(event.index, "", usage(), told)
            if event.finish_reason is not None:
                yield frames.closing(event.index, reader.finish_reason(event.finish_reason), usage())
        if body.includes_usage:
            yield frames.usage(usage(final=True))
    except ApiProblem as problem:
        yield frame(problem.body(chinese))
    yield DONE


async def collect(submission: Submission) -> list[tuple[str, FinishReason]]:
    """Text and finish reason of every choice."""
    texts: list[list[str]] = [[] for _ in submission.choices]
    reasons: list[FinishReason] = ["stop" for _ in submission.choices]
    async for event in submission.events():
        texts[event.index].append(event.text)
        if event.finish_reason is not None:
            reasons[event.index] = "length" if event.finish_reason == "length" else "stop"
    return [("".join(parts), reason) for parts, reason in zip(texts, reasons, strict=True)]


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
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


def _stream_logprobs(
    body: GenerationBody, chosen: tuple[Chosen, ...], tokenizer: Tokenizer, offset: int
) -> Logprobs:
    if isinstance(body, ChatBody):
        return chat_logprobs(chosen, tokenizer)
    return completion_logprobs(chosen, tokenizer, offset)


def _chosen(body: GenerationBody, submission: Submission) -> list[list[Chosen] | None]:
    """The tokens of each choice, where log-probabilities are asked for."""
    told = body.log_probabilities is not None
    return [
        choice.generation.chosen if told and choice.generation is not None else None
        for choice in submission.choices
    ]


def _completion(
    body: GenerationBody, submission: Submission, finished: list[tuple[str, FinishReason]], usage: Usage
) -> Completion:
    choices = [
        CompletionChoice(
            text=text,
            index=index,
            finish_reason=reason,
            logprobs=None if chosen is None else completion_logprobs(chosen, submission.tokenizer),
        )
        for index, ((text, reason), chosen) in enumerate(
            zip(finished, _chosen(body, submission), strict=True)
        )
    ]
    return Completion(
        id=new_id(chat=False), created=int(time.time()), model=body.model, choices=choices, usage=usage
    )


def _chat_completion(
    body: GenerationBody, submission: Submission, finished: list[tuple[str, FinishReason]], usage: Usage
) -> ChatCompletion:
    calls = isinstance(body, ChatBody) and bool(body.callables)
    read = [
        (reader := CallReader(calls), _message(reader.read(text, last=True)), reason)
        for text, reason in finished
    ]
    choices = [
        ChatChoice(
            index=index,
            message=message,
            finish_reason=reader.finish_reason(reason),
            logprobs=None if chosen is None else chat_logprobs(chosen, submission.tokenizer),
        )
        for index, ((reader, message, reason), chosen) in enumerate(
            zip(read, _chosen(body, submission), strict=True)
        )
    ]
    return ChatCompletion(
        id=new_id(chat=True), created=int(time.time()), model=body.model, choices=choices, usage=usage
    )


def _message(parts: Iterable[Part]) -> AssistantMessage:
    """The parts of a whole answer put together."""
    parts = list(parts)
    said = "".join(part.text for part in parts if isinstance(part, Said))
    calls = [
        ToolCall(
            id=call.id,
            function=FunctionCall(
                name=call.name,
                arguments="".join(
                    part.text for part in parts if isinstance(part, Argued) and part.number == call.number
                ),
            ),
        )
        for call in parts
        if isinstance(call, Called)
    ]
    return AssistantMessage(content=said if said or not calls else None, tool_calls=calls or None)

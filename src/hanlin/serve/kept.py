"""What the server keeps when it is asked to: conversations of users, and what they thought of answers."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Literal, TypeVar

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hanlin.base.language import Text
from hanlin.base.records import Message, Record
from hanlin.feedback.conversations import UnknownError
from hanlin.feedback.records import Conversation, Feedback
from hanlin.feedback.store import AwayError, Store
from hanlin.serve.body import Body
from hanlin.serve.door import user_of
from hanlin.serve.problems import ApiProblem, from_hanlin
from hanlin.serve.replies import ErrorReply, Reply
from hanlin.serve.requests import Content

T = TypeVar("T")

MOST_TEXT = 200_000
"""Characters of one message that is kept."""


class KeptMessage(Body):
    """One turn."""

    role: Literal["system", "user", "assistant"]
    content: Content = Field(max_length=MOST_TEXT)


class NewConversation(Body):
    """Body of POST /v1/conversations."""

    title: str = Field("", max_length=1000)
    """Without one, the first question is the title."""


class NewTitle(Body):
    """Body of PATCH /v1/conversations/{id}."""

    title: str = Field(max_length=1000)


class NewTurns(Body):
    """Body of POST /v1/conversations/{id}/turns."""

    messages: list[KeptMessage] = Field(min_length=1, max_length=64)
    """Each answers the one before it."""
    model: str = Field("", max_length=1000)
    """Which model wrote the answers among them."""
    parent: str | None = Field(None, max_length=64)
    """The turn that the first one answers."""


class NewFeedback(Body):
    """Body of POST /v1/feedback: at least one of rating, reason, correction and preferred."""

    messages: list[KeptMessage] = Field(min_length=1, max_length=2048)
    """The conversation up to and with the answer that is judged."""
    rating: Literal[-1, 0, 1] = 0
    """1 good, -1 bad."""
    reason: str = Field("", max_length=MOST_TEXT)
    """Why."""
    correction: str = Field("", max_length=MOST_TEXT)
    """What should have been said."""
    preferred: str = Field("", max_length=MOST_TEXT)
    """Another answer that is better than the one in messages."""
    id: str | None = Field(None, min_length=1, max_length=64)
    """The client's own: sent twice, it is kept once."""
    conversation: str | None = Field(None, max_length=64)
    turn: str | None = Field(None, max_length=64)
    model: str = Field("", max_length=1000)
    parameters: dict[str, Any] = Field(default_factory=dict, max_length=64)
    """How the answer was drawn."""


class ConversationList(Reply):
    """A page of conversations, without their turns."""

    object: Literal["list"] = "list"
    data: list[Conversation]


class TurnsKept(Reply):
    """The ids of turns that were added, in order."""

    object: Literal["turns"] = "turns"
    ids: list[str]


class FeedbackKept(Reply):
    """stored: in the database; else it waits on the disk until the database is back. Either way it is safe."""

    object: Literal["feedback"] = "feedback"
    id: str
    stored: bool


class Deleted(Reply):
    """How many rows of each kind are gone."""

    object: Literal["deleted"] = "deleted"
    rows: dict[str, int]


def _errors() -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorReply} for status in ("4XX", "503")}


async def _kept(work: Callable[[], T]) -> T:
    """What `work` returns, off the event loop. Raises `ApiProblem`: 404 for what the user has not, 503 without a database."""
    try:
        return await asyncio.to_thread(work)
    except UnknownError as error:
        problem = from_hanlin(error, None, "not_found")
        problem.status = 404
        raise problem from error
    except AwayError as error:
        problem = from_hanlin(error, None, "store_unavailable")
        problem.status, problem.kind, problem.headers = 503, "server_error", {"Retry-After": "10"}
        raise problem from error


_LINES: dict[int | str, dict[str, Any]] = {200: {"content": {"application/x-ndjson": {}}}}


class _Lines(StreamingResponse):
    """Newline-delimited JSON."""

    media_type = "application/x-ndjson"


def kept_routes(store: Store | None) -> APIRouter:
    """Routes of conversations, feedback and a user's own data."""
    router = APIRouter(responses=_errors())
    for part in (_conversation_routes, _feedback_routes, _own_data_routes):
        router.include_router(part(store))
    return router


def _of(store: Store | None) -> Store:
    if store is None:
        raise ApiProblem(
            404,
            Text("This server keeps nothing. Start it with store=FOLDER to let it.",
                 "本服务器不保存任何内容。若要保存，请以 store=目录 启动。"),
            code="nothing_is_kept",
        )  # fmt: skip
    return store


def _conversation_routes(store: Store | None) -> APIRouter:
    router = APIRouter(prefix="/v1/conversations")

    @router.get("")
    async def conversations(
        request: Request,
        search: str = Query("", max_length=200),
        limit: int = Query(100, ge=1, le=1000),
        before: float | None = Query(None, allow_inf_nan=False),
    ) -> ConversationList:
        """The caller's conversations, the last changed first; `before` (a changed_at) gives the next page."""
        user = user_of(request)
        found = await _kept(lambda: _of(store).conversations(user, search, limit, before))
        return ConversationList(data=found)

    @router.post("")
    async def begin(body: NewConversation, request: Request) -> Conversation:
        """A new conversation."""
        user = user_of(request)
        return await _kept(lambda: _of(store).begin(user, body.title))

    @router.get("/{id}")
    async def one(id: str, request: Request) -> Conversation:
        """One conversation with its turns."""
        user = user_of(request)
        return await _kept(lambda: _of(store).conversation(user, id))

    @router.patch("/{id}")
    async def rename(id: str, body: NewTitle, request: Request) -> Conversation:
        """Another title."""
        user = user_of(request)
        return await _kept(lambda: _of(store).rename(user, id, body.title))

    @router.delete("/{id}")
    async def delete(id: str, request: Request) -> Deleted:
        """Delete a conversation with its turns."""
        user = user_of(request)
        await _kept(lambda: _of(store).delete_conversation(user, id))
        return Deleted(rows={"conversations": 1})

    @router.post("/{id}/turns")
    async def add(id: str, body: NewTurns, request: Request) -> TurnsKept:
        """Add turns to a conversation."""
        user, messages = user_of(request), _messages(body.messages)
        ids = await _kept(lambda: _of(store).add_turns(user, id, messages, body.model, body.parent))
        return TurnsKept(ids=ids)

    return router


def _feedback_routes(store: Store | None) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/feedback")
    async def feedback(body: NewFeedback, request: Request) -> FeedbackKept:
        """What the caller thinks of an answer. When this is answered, it is on the disk."""
        if not (body.rating or body.reason or body.correction or body.preferred):
            raise ApiProblem(
                400,
                Text("Give a rating, a reason, a correction or a preferred answer.",
                     "请给出评分、理由、更正或更好的回答。"),
                param="rating",
                code="missing_required_parameter",
            )  # fmt: skip
        one = Feedback(
            **{
                **body.model_dump(),
                "id": body.id or uuid.uuid4().hex,
                "user": user_of(request),
                "at": time.time(),
                "messages": tuple(_messages(body.messages)),
            }
        )
        return FeedbackKept(id=one.id, stored=await _kept(lambda: _of(store).add_feedback([one])))

    @router.get("/admin/feedback", response_class=Response, responses=_LINES)
    async def all_feedback(after: int = Query(0, ge=0, lt=2**63)) -> Response:
        """What everybody thought, one JSON record a line with its number, from beyond number `after`."""
        found = await _kept(lambda: _of(store).feedback(after))
        return _lines({"number": number, **one.model_dump(mode="json")} for number, one in found)

    return router


def _own_data_routes(store: Store | None) -> APIRouter:
    router = APIRouter(prefix="/v1/me")

    @router.get("/export", response_class=Response, responses=_LINES)
    async def export(request: Request) -> Response:
        """Everything that is kept of the caller, one JSON record a line."""
        user = user_of(request)
        await _kept(
            lambda: _of(store).conversations(user, limit=1)
        )  # what is wrong is told before the first line
        return _lines(_named(_of(store).export(user)))

    @router.delete("")
    async def delete(request: Request) -> Deleted:
        """Delete everything that is kept of the caller."""
        user = user_of(request)
        return Deleted(rows=await _kept(lambda: _of(store).delete_user(user)))

    return router


def _named(records: Iterable[Record]) -> Iterator[dict[str, Any]]:
    return ({"kind": type(one).__name__.lower(), **one.model_dump(mode="json")} for one in records)


def _lines(values: Iterable[dict[str, Any]]) -> StreamingResponse:
    """Newline-delimited JSON, read from the store as fast as the client takes it."""
    done = object()

    async def lines() -> AsyncIterator[str]:
        rows = iter(values)
        while (row := await asyncio.to_thread(next, rows, done)) is not done:
            yield json.dumps(row, ensure_ascii=False) + "\n"

    return _Lines(lines())


def _messages(given: list[KeptMessage]) -> list[Message]:
    return [Message(role=one.role, content=one.content) for one in given]

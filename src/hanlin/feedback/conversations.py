"""Conversations of users: begun, continued, found, renamed, deleted."""

import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, or_, select, update

from hanlin.base.errors import RequestError
from hanlin.base.language import Text
from hanlin.base.records import Message
from hanlin.feedback import tables
from hanlin.feedback.database import writing
from hanlin.feedback.records import Conversation, KeptTurn

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Row


class UnknownError(RequestError):
    """A conversation or a turn that the user does not have."""


TITLE = 60
"""Characters of a title that is taken from the first question."""


class Conversations:
    """Each belongs to one user, and no other one sees it or can tell that it is there."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def begin(self, user: str, title: str = "", id: str | None = None) -> Conversation:
        """A new conversation without turns."""
        now = time.time()
        begun = Conversation(id=id or uuid.uuid4().hex, user=user, title=title, begun_at=now, changed_at=now)
        with writing(self._engine) as connection:
            connection.execute(insert(tables.conversations).values(begun.model_dump(exclude={"turns"})))
        return begun

    def add(
        self, user: str, id: str, messages: Sequence[Message], model: str = "", parent: str | None = None
    ) -> list[KeptTurn]:
        """Add messages, each an answer to the one before it, the first to `parent`. Without a title yet, the first question
        is it. Raises `UnknownError` for a conversation that the user does not have, and for a parent that is not in it."""
        now = time.time()
        kept = list[KeptTurn]()
        with writing(self._engine) as connection:
            conversation = self._own(connection, user, id)
            if parent is not None:
                self._check_parent(connection, id, parent)
            for message in messages:
                kept.append(
                    KeptTurn(
                        id=uuid.uuid4().hex,
                        parent=parent,
                        role=message.role,
                        content=message.content,
                        model=model if message.role == "assistant" else "",
                        at=now,
                    )
                )
                parent = kept[-1].id
            if kept:
                connection.execute(
                    insert(tables.turns), [{"conversation": id, **turn.model_dump()} for turn in kept]
                )
            changes: dict[str, Any] = {"changed_at": now}
            first = next((message.content for message in messages if message.role == "user"), "")
            if not conversation.title and first:
                changes["title"] = title_of(first)
            connection.execute(
                update(tables.conversations).where(tables.conversations.c.id == id).values(changes)
            )
        return kept

    def get(self, user: str, id: str) -> Conversation:
        """One conversation with its turns. Raises `UnknownError` if the user has it not."""
        turns = tables.turns
        with self._engine.connect() as connection:
            conversation = self._own(connection, user, id)
            rows = connection.execute(
                select(turns).where(turns.c.conversation == id).order_by(turns.c.number)
            ).all()
        return _conversation(conversation, [_turn(row) for row in rows])

    def list(
        self, user: str, search: str = "", limit: int = 100, before: float | None = None
    ) -> list[Conversation]:
        """A user's conversations without their turns, the last changed first; `search`: with this in the title or a turn.

        before: only those last changed earlier, for the next page.
        """
        table, turns = tables.conversations, tables.turns
        query = select(table).where(table.c.user == user)
        if before is not None:
            query = query.where(table.c.changed_at < before)
        if search:
            said = select(turns.c.conversation).where(turns.c.content.icontains(search, autoescape=True))
            query = query.where(or_(table.c.title.icontains(search, autoescape=True), table.c.id.in_(said)))
        with self._engine.connect() as connection:
            rows = connection.execute(
                query.order_by(table.c.changed_at.desc(), table.c.id).limit(limit)
            ).all()
        return [_conversation(row, []) for row in rows]

    def rename(self, user: str, id: str, title: str) -> Conversation:
        """Give it another title. Raises as `get`."""
        with writing(self._engine) as connection:
            self._own(connection, user, id)
            connection.execute(
                update(tables.conversations).where(tables.conversations.c.id == id).values(title=title)
            )
        return self.get(user, id)

    def delete(self, user: str, id: str) -> None:
        """Delete it with its turns; what was thought of its answers stays until the user's data go. Raises as `get`."""
        with writing(self._engine) as connection:
            self._own(connection, user, id)
            connection.execute(delete(tables.conversations).where(tables.conversations.c.id == id))

    def _own(self, connection: "Connection", user: str, id: str) -> "Row[Any]":
        table = tables.conversations
        row = connection.execute(select(table).where(table.c.id == id, table.c.user == user)).one_or_none()
        if row is None:
            raise _unknown(id)
        return row

    def _check_parent(self, connection: "Connection", id: str, parent: str) -> None:
        turns = tables.turns
        found = connection.execute(
            select(turns.c.number).where(turns.c.id == parent, turns.c.conversation == id)
        )
        if found.first() is None:
            raise _unknown_turn(parent)


def title_of(question: str) -> str:
    """The beginning of the first line, cut at a word where there are spaces."""
    line = question.strip().splitlines()[0].strip() if question.strip() else ""
    if len(line) <= TITLE:
        return line
    head = line[:TITLE]
    words = head.rsplit(" ", 1)
    return (words[0] if len(words) == 2 and len(words[0]) > TITLE // 2 else head).rstrip() + "…"


def _conversation(row: "Row[Any]", turns: Sequence[KeptTurn]) -> Conversation:
    return Conversation(**row._mapping, turns=tuple(turns))


def _turn(row: "Row[Any]") -> KeptTurn:
    values = dict(row._mapping)
    del values["number"], values["conversation"]
    return KeptTurn(**values)


def _unknown(id: str) -> UnknownError:
    return UnknownError(
        Text(f"There is no conversation {id!r}.", f"没有对话 {id!r}。"),
        Text("Ask for the list of your conversations.", "请查询您的对话列表。"),
    )


def _unknown_turn(id: str) -> UnknownError:
    return UnknownError(
        Text(f"There is no turn {id!r} in this conversation.", f"该对话中没有消息 {id!r}。"),
        Text("Read the conversation again.", "请重新读取该对话。"),
    )

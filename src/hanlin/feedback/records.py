"""What is kept: conversations, their turns, and what people thought of them. Times are seconds since 1970, UTC."""

from typing import Any, Literal

from pydantic import Field

from hanlin.base.records import Message, Record


class KeptTurn(Record):
    """One message of a conversation. `parent` is the turn that it answers or follows; two of one parent are two ways to
    go on (an edited question, an answer that was asked for again)."""

    id: str
    parent: str | None = None
    role: Literal["system", "user", "assistant"]
    content: str
    model: str = ""
    at: float


class Conversation(Record):
    """A conversation of a user; `turns` in the order in which they came, empty in a list of many."""

    id: str
    user: str
    title: str
    begun_at: float
    changed_at: float
    turns: tuple[KeptTurn, ...] = ()


class Feedback(Record):
    """What a user thought of an answer, with all that is needed to learn from it.

    messages: the conversation up to and with the answer. rating: 1 good, -1 bad. correction: what should have been said.
    preferred: of two answers, the other one, which was liked better than the last of `messages`. parameters: how it was drawn.
    """

    id: str
    user: str
    at: float
    conversation: str | None = None
    turn: str | None = None
    model: str = ""
    messages: tuple[Message, ...] = Field(min_length=1)
    rating: Literal[-1, 0, 1] = 0
    reason: str = ""
    correction: str = ""
    preferred: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)

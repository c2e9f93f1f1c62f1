"""The store: conversations and opinions of users in one database, masked before they are kept.

When the database is away, opinions wait in a file beside it; conversations are not kept meanwhile, and who asks is told.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from sqlalchemy import delete
from sqlalchemy.exc import DBAPIError

from hanlin.base.errors import HanlinError
from hanlin.base.language import Text
from hanlin.base.records import Message
from hanlin.corpus.config import ScrubConfig
from hanlin.corpus.scrub import scrubber
from hanlin.feedback import tables
from hanlin.feedback.conversations import Conversations
from hanlin.feedback.database import migrate, open_database, writing
from hanlin.feedback.opinions import Opinions
from hanlin.feedback.records import Conversation, Feedback
from hanlin.feedback.waiting import WaitingFile

DAY = 86_400.0
"""Seconds."""


class AwayError(HanlinError):
    """The database does not answer."""


class Store:
    """Opened for reading and writing; methods may be called from any thread."""

    def __init__(self, url: str, waiting: Path, mask: ScrubConfig | None = None) -> None:
        """waiting: the folder for what comes while the database is away. mask: which personal data are replaced by tags.

        Nothing is read yet: a database that is away at the start is opened when it is there (`ready`).
        Raises as `open_database` and `scrubber`.
        """
        self._database = open_database(url)
        self._waiting = WaitingFile(waiting / "waiting.jsonl")
        self._scrub = scrubber(mask or ScrubConfig())
        self._migrated = False
        self._conversations = Conversations(self._database)
        self._opinions = Opinions(self._database)

    @classmethod
    def at(cls, place: str, mask: ScrubConfig | None = None) -> Self:
        """Of a folder, where it is SQLite, or of the address of a database, beside which `runs/feedback` is for what waits."""
        if "://" in place:
            return cls(place, Path("runs/feedback"), mask)
        return cls(f"sqlite:///{Path(place) / 'feedback.sqlite'}", Path(place), mask)

    def ready(self) -> bool:
        """Whether the database answers and has its tables; what waited is added then.

        Raises `NewerFormatError` or `CheckpointError` for a store that this version cannot use.
        """
        try:
            if not self._migrated:
                migrate(self._database)
                self._migrated = True
            self._waiting.replay(self._opinions.add)
        except DBAPIError:
            return False
        return True

    @property
    def waiting(self) -> int:
        """Opinions that are not in the database yet."""
        return len(self._waiting)

    # ---- conversations

    def begin(self, user: str, title: str = "", id: str | None = None) -> Conversation:
        """As `Conversations.begin`, its title masked."""
        self._there()
        return self._conversations.begin(user, self.masked(title), id)

    def add_turns(
        self, user: str, id: str, messages: Sequence[Message], model: str = "", parent: str | None = None
    ) -> list[str]:
        """As `Conversations.add`, their texts masked; the ids of the turns."""
        self._there()
        kept = self._conversations.add(user, id, self._masked_messages(messages), model, parent)
        return [turn.id for turn in kept]

    def conversation(self, user: str, id: str) -> Conversation:
        """As `Conversations.get`."""
        self._there()
        return self._conversations.get(user, id)

    def conversations(
        self, user: str, search: str = "", limit: int = 100, before: float | None = None
    ) -> list[Conversation]:
        """As `Conversations.list`."""
        self._there()
        return self._conversations.list(user, search, limit, before)

    def rename(self, user: str, id: str, title: str) -> Conversation:
        """As `Conversations.rename`."""
        self._there()
        return self._conversations.rename(user, id, self.masked(title))

    def delete_conversation(self, user: str, id: str) -> None:
        """As `Conversations.delete`."""
        self._there()
        self._conversations.delete(user, id)

    # ---- opinions

    def add_feedback(self, opinions: Sequence[Feedback]) -> bool:
        """Keep them, masked. Whether they are in the database; if it is away they are on the disk, and are added later.

        Either way they survive what may happen to this process once this returns. Raises `DiskError` if neither can be.
        """
        masked = [self._masked_opinion(one) for one in opinions]
        if self.ready():
            try:
                self._opinions.add(masked)
                return True
            except DBAPIError:
                pass
        self._waiting.keep(masked)
        return False

    def feedback(self, after: int = 0, user: str | None = None) -> Iterator[tuple[int, Feedback]]:
        """As `Opinions.read`."""
        self._there()
        return self._opinions.read(after, user)

    # ---- what people have a right to

    def export(self, user: str) -> Iterator[Conversation | Feedback]:
        """Everything that is kept of a user."""
        before: float | None = None
        while page := self.conversations(user, before=before):
            yield from (self.conversation(user, one.id) for one in page)
            before = page[-1].changed_at
        yield from (one for _, one in self.feedback(user=user))

    def delete_user(self, user: str) -> dict[str, int]:
        """Delete everything of a user; how many rows of each kind."""
        self._there()
        with writing(self._database) as connection:
            return {
                table.name: connection.execute(delete(table).where(table.c.user == user)).rowcount
                for table in (tables.conversations, tables.feedback)
            }

    def expire(self, days: float) -> dict[str, int]:
        """Delete conversations not changed, and feedback not given, within so many days; how many rows of each kind."""
        self._there()
        oldest = time.time() - days * DAY
        ages = {
            tables.conversations: tables.conversations.c.changed_at,
            tables.feedback: tables.feedback.c.at,
        }
        with writing(self._database) as connection:
            return {
                table.name: connection.execute(delete(table).where(age < oldest)).rowcount
                for table, age in ages.items()
            }

    def close(self) -> None:
        """Give connections back."""
        self._database.dispose()

    # ---- masking

    def masked(self, text: str) -> str:
        """A text without the personal data that are looked for."""
        return self._scrub(text, Counter())

    def _masked_messages(self, messages: Sequence[Message]) -> list[Message]:
        return [one.model_copy(update={"content": self.masked(one.content)}) for one in messages]

    def _masked_opinion(self, one: Feedback) -> Feedback:
        texts = {name: self.masked(getattr(one, name)) for name in ("reason", "correction", "preferred")}
        return one.model_copy(update={**texts, "messages": tuple(self._masked_messages(one.messages))})

    # ---- the database, there or away

    def _there(self) -> None:
        """Raise `AwayError` while the database is away."""
        if not self.ready():
            where = self._database.url.render_as_string(hide_password=True)
            raise AwayError(
                Text(f"The store {where} does not answer.", f"反馈库 {where} 没有响应。"),
                Text("Try again later; whoever runs the server should see to the database.",
                     "请稍后再试；服务器管理者应检查数据库。"),
            )  # fmt: skip

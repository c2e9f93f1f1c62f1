"""What users thought of answers: only ever added, and read from the first to the last."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from hanlin.feedback import tables
from hanlin.feedback.database import writing
from hanlin.feedback.records import Feedback

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Row

_AT_ONCE = 1000


class Opinions:
    """The lines of feedback. One that came before, by its id, is not added again: a client may retry, a queue replay."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def add(self, opinions: Sequence[Feedback]) -> int:
        """Add them all or none; how many were new. When this returns they are on the disk."""
        try:
            return self._add(opinions)
        except IntegrityError:  # another process added one of them between our look and our writing
            return self._add(opinions)

    def _add(self, opinions: Sequence[Feedback]) -> int:
        by_id = {one.id: one for one in opinions}
        table = tables.feedback
        with writing(self._engine) as connection:
            known = set(connection.execute(select(table.c.id).where(table.c.id.in_(by_id))).scalars())
            fresh = [one.model_dump(mode="json") for id, one in by_id.items() if id not in known]
            if fresh:
                connection.execute(table.insert(), fresh)
        return len(fresh)

    def read(self, after: int = 0, user: str | None = None) -> Iterator[tuple[int, Feedback]]:
        """Each with its number, in order, from beyond number `after`; of one user or of all."""
        table = tables.feedback
        while True:
            query = select(table).where(table.c.number > after)
            if user is not None:
                query = query.where(table.c.user == user)
            with self._engine.connect() as connection:
                rows = connection.execute(query.order_by(table.c.number).limit(_AT_ONCE)).all()
            for row in rows:
                yield row.number, _feedback(row)
            if len(rows) < _AT_ONCE:
                return
            after = rows[-1].number

    def count(self) -> int:
        """How many there are."""
        with self._engine.connect() as connection:
            return _count(connection)


def _count(connection: "Connection") -> int:
    return connection.execute(select(func.count()).select_from(tables.feedback)).scalar_one()


def _feedback(row: "Row[Any]") -> Feedback:
    values = dict(row._mapping)
    del values["number"]
    return Feedback.model_validate(values)

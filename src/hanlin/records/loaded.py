"""Records of one side of the data, with where each stands and what else its row holds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from hanlin.base.language import Text
from hanlin.base.records import TaskRecord

RecordT = TypeVar("RecordT", bound=TaskRecord)


@dataclass(frozen=True)
class Row:
    """One row of a file: `place` is such as `train.tsv:17`, `values` are its columns as they stand there."""

    place: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """A row that cannot be used: where it stands, why, and how to mend it."""

    place: str
    reason: Text
    mend: Text


@dataclass(frozen=True)
class Loaded(Generic[RecordT]):
    """records, and for each its place and its row; rows that were skipped; how columns were understood, said to the user.

    columns: of each field of the record, the column that it was read from.
    """

    records: list[RecordT]
    places: list[str]
    rows: list[dict[str, Any]]
    skipped: list[Problem] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    notes: list[Text] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.records)

    def chosen(self, numbers: Sequence[int]) -> "Loaded[RecordT]":
        """The records of these numbers, in this order."""
        return Loaded(
            [self.records[number] for number in numbers],
            [self.places[number] for number in numbers],
            [self.rows[number] for number in numbers],
            self.skipped,
            self.columns,
            self.notes,
        )

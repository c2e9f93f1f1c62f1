"""`Table`: the rows of one file with its columns, and the notes and problems of its reading."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hanlin.base.language import Text
from hanlin.corpus.intake import Intake, path_text
from hanlin.corpus.stream import text_lines
from hanlin.records.loaded import Problem, Row


@dataclass
class Table:
    """What one file (or one pair of files) holds. `columns`: in their order; `numbered`: they have numbers for names."""

    where: str
    rows: list[Row]
    columns: list[str]
    problems: list[Problem] = field(default_factory=list)
    notes: list[Text] = field(default_factory=list)
    numbered: bool = False
    changed: dict[Text, list[str]] = field(default_factory=dict)
    """What was changed or left out without being a problem, and the places of the rows."""

    def count(self, what: Text, place: str) -> None:
        """Remember that something was done to a row."""
        self.changed.setdefault(what, []).append(place)


class Troubles(Intake):
    """What the reading of bytes as text runs into, gathered as problems."""

    def __init__(self) -> None:
        super().__init__("records", "skip")
        self.problems: list[Problem] = []

    def trouble(self, path: Path, line: int | None, kind: str, reason: Text, remedy: Text) -> None:
        """Remember what is wrong with a file."""
        place = path_text(path) if line is None else f"{path_text(path)}:{line}"
        self.problems.append(Problem(place, Text(reason.en.rstrip("."), reason.zh.rstrip("。")), remedy))


def lines_of(path: Path, troubles: Troubles) -> Iterator[str]:
    """The lines of a text file of any encoding, decompressed, without a byte-order mark."""
    for number, line in enumerate(text_lines(path, "auto", troubles)):
        yield line.removeprefix("\ufeff") if number == 0 else line


def columns_of(rows: list[Row]) -> list[str]:
    """All keys of the rows, in the order in which they come."""
    return list(dict.fromkeys(key for row in rows for key in row.values))

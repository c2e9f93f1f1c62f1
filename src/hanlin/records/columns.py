"""Which column of a file holds which field of a record: named by the user, or guessed by its name and said."""

import difflib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from hanlin.base.errors import DataError
from hanlin.base.language import Text


def plain_name(name: str) -> str:
    """A column's name without case, width, spaces and joints: `Sentence_A` and `sentenceA` are one."""
    kept = unicodedata.normalize("NFKC", name).casefold()
    return "".join(letter for letter in kept if letter not in " _-#\ufeff")


class Columns:
    """The columns of one file, and which of them were taken for what.

    `named` says of fields of the record which column holds them: by its name, or by its number from 1.
    """

    def __init__(self, names: Sequence[str], named: Mapping[str, str], where: str) -> None:
        self.names = list(names)
        self.where = where
        self.taken: dict[str, str] = {}
        self._named = dict(named)
        self._by_plain_name = {plain_name(name): name for name in reversed(self.names)}

    def is_named(self, field: str) -> bool:
        """Whether the user says which column holds a field."""
        return field in self._named

    def fields(self, beginning: str) -> list[str]:
        """The fields of this beginning that the user names."""
        return [field for field in self._named if field.startswith(beginning)]

    def add(self, names: Sequence[str]) -> None:
        """Columns that came from within another."""
        self.names.extend(names)
        self._by_plain_name |= {plain_name(name): name for name in names}

    def find(self, field: str, guesses: Iterable[str] = ()) -> str | None:
        """The column that holds a field: the named one, or the first of the guesses that there is.

        Raises `DataError`, naming the nearest column, if the named one does not exist.
        """
        if field in self._named:
            column = self._existing(field, self._named[field])
        else:
            free = set(self.names) - set(self.taken.values())
            found = (self._by_plain_name.get(plain_name(guess)) for guess in guesses)
            column = next((name for name in found if name in free), "")
        if not column:
            return None
        self.taken[field] = column
        return column

    def need(self, field: str, guesses: Iterable[str] = ()) -> str:
        """`find`, or a `DataError` that names the columns that there are."""
        guesses = tuple(guesses)
        column = self.find(field, guesses)
        if column is None:
            raise self.missing(field, guesses)
        return column

    def take(self, field: str, column: str) -> str:
        """Note that a column was chosen for a field by what it holds."""
        self.taken[field] = column
        return column

    def missing(self, field: str, guesses: Sequence[str] = ()) -> DataError:
        """The error for a field that no column is known to hold."""
        listed = ", ".join(self.names[:20]) or "-"
        near = self._nearest(field, *guesses[:3])
        return DataError(
            Text(
                f"{self.where} has no column that is known to hold '{field}'; it has: {listed}.",
                f"{self.where} 中没有已知存放“{field}”的列；现有：{listed}。",
            ),
            Text(
                f"Name the column that holds it: {field}: {near or '<column>'} "
                f"(columns.{field} in a recipe, --{field.replace('_', '-')} on the command line).",
                f"请指明它所在的列：{field}: {near or '<列名>'}"
                f"（配方中的 columns.{field}，命令行的 --{field.replace('_', '-')}）。",
            ),
        )

    def _existing(self, field: str, wanted: str) -> str:
        if wanted in self.names:
            return wanted
        if plain_name(wanted) in self._by_plain_name:
            return self._by_plain_name[plain_name(wanted)]
        if wanted.isdecimal() and 1 <= int(wanted) <= len(self.names):
            return self.names[int(wanted) - 1]
        listed, near = ", ".join(self.names[:20]), self._nearest(wanted)
        raise DataError(
            Text(
                f"{self.where} has no column '{wanted}' for '{field}'; it has: {listed}.",
                f"{self.where} 中没有用作“{field}”的列“{wanted}”；现有：{listed}。",
            ),
            Text(
                f"Did you mean '{near}'?" if near else "Name one of these, or its number from 1.",
                f"是否想写“{near}”？" if near else "请写其中一列的名称，或从 1 起的列号。",
            ),
        )

    def _nearest(self, *wanted: str) -> str:
        plain = list(self._by_plain_name)
        for name in wanted:
            if near := difflib.get_close_matches(plain_name(name), plain, n=1, cutoff=0.7):
                return self._by_plain_name[near[0]]
        return ""

    def check_fields(self, known: Sequence[str]) -> None:
        """Raise `DataError` for a name given to a field that records of this kind do not have."""
        for field in self._named:
            if field not in known and not field.startswith("control."):
                near = difflib.get_close_matches(field, known, n=1, cutoff=0.5)
                raise DataError(
                    Text(
                        f"Records of this kind have no field '{field}'; they have: {', '.join(known)}.",
                        f"这类记录没有字段“{field}”；有：{'、'.join(known)}。",
                    ),
                    Text(
                        f"Did you mean '{near[0]}'?" if near else "Take it out of columns.",
                        f"是否想写“{near[0]}”？" if near else "请从 columns 中去掉它。",
                    ),
                )

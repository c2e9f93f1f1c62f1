"""What a step of the engine computes, for whom, and who waits: order of arrival, under a bound of memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hanlin.generate.generation import Generation
from hanlin.generate.slots import Slot, Slots, common_length

ALONE = 512
"""Prompt tokens of a step in which no text waits for its next token."""

WORTH_WAITING = 16
"""A prompt waits for an older one that is being read if it shares at least so many more tokens than are held."""


@dataclass(eq=False)
class Row:
    """A running request.

    older: who is reading the beginning that both share, `shares` tokens of it. right: how likely a guess at its next
    token is right.
    """

    generation: Generation
    slot: Slot
    older: "Row | None" = None
    shares: int = 0
    right: float = 0.8


@dataclass(frozen=True)
class Part:
    """New tokens of one row in a step. whole: whether they end its text, so that the next token can be drawn."""

    row: Row
    ids: list[int]
    whole: bool


class Schedule:
    """The running requests, in order of arrival, over the slots that hold their texts."""

    def __init__(self, slots: Slots, max_rows: int, chunk: int) -> None:
        """chunk: prompt tokens of a step while texts run."""
        self.rows: list[Row] = []
        self._slots = slots
        self._max_rows = max_rows
        self._chunk = chunk

    def has_room(self, length: int) -> bool:
        """Whether a text of so many tokens can begin beside those that run, and each still grow by one."""
        promised = sum(len(row.slot.ids) + 1 for row in self.rows)
        fits = not self.rows or promised + length + 1 <= self._slots.bound
        return fits and len(self.rows) < self._max_rows

    def begin(self, generation: Generation, ids: list[int], adapter: object) -> int:
        """Run a request whose text so far is `ids`; how many of them were held already. There must be room."""
        row = Row(generation, self._slots.take(ids, adapter))
        row.shares = row.slot.held + WORTH_WAITING - 1
        for other in self.rows:
            if other.slot.pending > 1 and other.slot.adapter is adapter:
                shares = common_length(ids, other.slot.ids, min(len(ids), len(other.slot.ids)) - 1)
                if shares > row.shares:
                    row.older, row.shares = other, shares
        self.rows.append(row)
        return row.slot.held

    def leave(self) -> None:
        """Let go of rows whose requests have ended."""
        if any(row.generation.finish_reason is not None for row in self.rows):
            for row in self.rows:
                if row.generation.finish_reason is not None:
                    self._slots.release(row.slot)
            self.rows = [row for row in self.rows if row.generation.finish_reason is None]

    def parts(self, put_back: Callable[[Generation], None]) -> list[Part]:
        """What the next step computes, with memory for it.

        Where memory does not do without idle prefixes, the youngest request gives up its place: it is `put_back`.
        """
        while True:
            parts = list(self._parts())
            if self._slots.reserve(sum(len(part.ids) for part in parts)):
                return parts
            row = self.rows.pop()
            row.generation.preemptions += 1
            self._slots.release(row.slot)
            put_back(row.generation)

    def _parts(self) -> Iterator[Part]:
        """The last token of each text, and prompts in order of arrival up to a number of tokens."""
        texts = any(row.slot.pending == 1 for row in self.rows)
        budget = self._chunk if texts else max(self._chunk, ALONE)
        for row in self.rows:
            slot = row.slot
            if slot.pending == 1:
                yield Part(row, slot.ids[-1:], whole=True)
            elif budget and not self._waits(row):
                ids = slot.ids[slot.held : slot.held + budget]
                budget -= len(ids)
                yield Part(row, ids, whole=len(ids) == slot.pending)

    def _waits(self, row: Row) -> bool:
        """Whether the row's beginning is still being read for an older one; it is copied once it is there."""
        if row.older is None:
            return False
        if row.older in self.rows and row.older.slot.held < row.shares:
            return True
        before, row.older = row.slot.held, None
        self._slots.catch_up(row.slot)
        if not row.generation.preemptions:
            row.generation.cached_tokens += row.slot.held - before
        return False

"""What the slots of a runner hold: running texts, and prefixes that are kept for whoever may begin with them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from hanlin.generate.runner import Runner

_COMPARED = 128
"""Tokens that are compared at a time."""


@dataclass(eq=False)
class Slot:
    """One text of the runner: the first `held` of `ids` are cached, the rest is still to be computed.

    adapter: what the cached tokens went through; None for the base. used: greater for those used later.
    """

    index: int
    ids: list[int] = field(default_factory=list)
    held: int = 0
    adapter: object = None
    busy: bool = False
    used: int = 0

    @property
    def pending(self) -> int:
        """Tokens still to be computed."""
        return len(self.ids) - self.held


class Slots:
    """The slots of one runner, in which at most `bound` tokens are held together.

    A slot that is let go keeps its tokens until their place is needed: of slots, or ends of slots, that nobody
    uses, those go first that were used longest ago.
    """

    def __init__(self, runner: Runner, bound: int) -> None:
        self._runner = runner
        self.bound = bound
        self._slots = [Slot(index) for index in range(runner.slots)]
        self._clock = itertools.count(1)

    @property
    def held(self) -> int:
        """Tokens in all slots together."""
        return sum(slot.held for slot in self._slots)

    @property
    def spare(self) -> int:
        """Tokens that could be held beside those of slots in use."""
        return self.bound - sum(slot.held for slot in self._slots if slot.busy)

    def take(self, ids: list[int], adapter: object = None) -> Slot:
        """A slot for a text, with as much of its beginning as any slot holds; its last token is not held.

        There must be an idle slot, and room for `ids` beside the slots in use. An idle prefix is extended where
        nothing of it is lost, or nothing else is free; else it is copied.
        """
        source, common = self._longest(ids, adapter)
        idle = [slot for slot in self._slots if not slot.busy]
        # An empty slot, else the one used longest ago.
        target = min(idle, key=lambda slot: (slot.held > 0, slot.used, slot.index))
        if source is not None and not source.busy and not self._stays(source, ids):
            target = source
        self._cut(target, common if target is source else 0)
        target.ids, target.adapter, target.busy = ids, adapter, True
        if source is not None and target is not source:
            self._copy(source, target, common)
        return target

    def catch_up(self, slot: Slot) -> None:
        """Copy what another slot holds of this slot's text by now, where that is more."""
        source, common = self._longest(slot.ids, slot.adapter)
        if source is not None and common > slot.held:
            self._copy(source, slot, common)

    def release(self, slot: Slot) -> None:
        """Nobody uses the slot any more; what it holds stays while there is room."""
        slot.ids = slot.ids[: slot.held]
        slot.busy, slot.used = False, next(self._clock)

    def truncate(self, slot: Slot, length: int) -> None:
        """Forget what a slot in use holds beyond `length` tokens; its text stays."""
        self._runner.truncate(slot.index, length)
        slot.held = length

    def reserve(self, tokens: int) -> bool:
        """Make room for so many more tokens by forgetting idle ones; False where that is not enough."""
        missing = self.held + tokens - self.bound
        if missing <= 0:
            return True
        idle = sorted((slot for slot in self._slots if not slot.busy), key=lambda slot: slot.used)
        if sum(slot.held for slot in idle) < missing:
            return False
        for slot in idle:
            gone = min(slot.held, missing)
            self._cut(slot, slot.held - gone)
            missing -= gone
        return True

    def forget(self, but: Sequence[object] = ()) -> None:
        """Forget what idle slots hold, whoever wrote it, except through these adapters."""
        for slot in self._slots:
            if not slot.busy and not any(slot.adapter is one for one in but):
                self._runner.truncate(slot.index, 0)
                slot.ids, slot.held = [], 0

    def clear(self) -> None:
        """Forget everything, running texts too."""
        for slot in self._slots:
            self._runner.truncate(slot.index, 0)
            slot.ids, slot.held, slot.adapter, slot.busy = [], 0, None, False

    def _longest(self, ids: Sequence[int], adapter: object) -> tuple[Slot | None, int]:
        """The slot that holds most of the beginning of `ids`, but for its last token."""
        best, most = None, 0
        for slot in self._slots:
            if slot.held > most and slot.adapter is adapter:
                common = common_length(slot.ids, ids, min(slot.held, len(ids) - 1))
                if common > most or (common == most > 0 and not slot.busy):
                    best, most = slot, common
        return best, most

    def _stays(self, source: Slot, ids: Sequence[int]) -> bool:
        """Whether an idle prefix is to stay as it is beside a text that begins like it."""
        if ids[: source.held] == source.ids:
            return False
        free = any(not slot.busy and slot is not source for slot in self._slots)
        busy = sum(slot.held for slot in self._slots if slot.busy)
        return free and busy + source.held + len(ids) + 1 <= self.bound

    def _copy(self, source: Slot, target: Slot, length: int) -> None:
        source.used = next(self._clock)  # so that it is the last to lose tokens to its own copy
        if self.reserve(length - target.held) and source.held >= length:
            self._runner.copy(source.index, target.index, length)
            target.held = length

    def _cut(self, slot: Slot, length: int) -> None:
        if slot.held > length:
            self._runner.truncate(slot.index, length)
            slot.held = length
            slot.ids = slot.ids[:length]


def common_length(a: Sequence[int], b: Sequence[int], most: int) -> int:
    """How many of the first `most` ids of two lists are equal, up to the first difference."""
    for start in range(0, most, _COMPARED):
        stop = min(start + _COMPARED, most)
        if a[start:stop] != b[start:stop]:
            return next(at for at in range(start, stop) if a[at] != b[at])
    return most

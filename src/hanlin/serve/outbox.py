"""What goes from the engine's thread to the event loop: what came for a text within a moment goes together.

Every hand-over wakes the event loop, which then writes to each client; on few cores that is time that the engine does not have.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from hanlin.generate.sampling import Chosen

Owner = TypeVar("Owner")


@dataclass(frozen=True)
class Event:
    """Some text of one choice of a submission, and how it stands after it."""

    index: int
    text: str
    new_tokens: int
    finish_reason: str | None
    chosen: tuple[Chosen, ...] = ()

    def then(self, later: "Event") -> "Event":
        """Both as one."""
        return replace(later, text=self.text + later.text, chosen=self.chosen + later.chosen)


class Outbox(Generic[Owner]):
    """Events that wait, one of each owner. The first token of a text does not wait, nor does its end.

    moment: seconds that another token waits for others at most.
    """

    def __init__(self, moment: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._moment = moment
        self._clock = clock
        self._held: dict[Owner, Event] = {}
        self._since = 0.0
        self._urgent = False

    def add(self, owner: Owner, event: Event) -> None:
        """Put an event behind those that its owner has here."""
        if not self._held:
            self._since = self._clock()
        earlier = self._held.get(owner)
        self._held[owner] = event if earlier is None else earlier.then(event)
        self._urgent |= event.new_tokens <= 1 or event.finish_reason is not None

    @property
    def is_due(self) -> bool:
        """Whether what is here should go."""
        return bool(self._held) and (self._urgent or self._clock() - self._since >= self._moment)

    def take(self) -> list[tuple[Owner, Event]]:
        """All that is here, which then is empty."""
        taken = list(self._held.items())
        self._held, self._urgent = {}, False
        return taken

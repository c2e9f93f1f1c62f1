"""Which adapter each row of a batch goes through."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Choice:
    """The rows of one batch by adapter; `rows` None means all of them, whatever their number."""

    groups: tuple[tuple[str | None, tuple[int, ...] | None], ...]

    @staticmethod
    def of(names: Sequence[str | None]) -> "Choice":
        """The choice of a batch whose row b goes through `names[b]` (None: the base)."""
        if len(set(names)) == 1:
            return Choice(((names[0], None),))
        rows: dict[str | None, list[int]] = {}
        for row, name in enumerate(names):
            rows.setdefault(name, []).append(row)
        return Choice(tuple((name, tuple(of)) for name, of in rows.items()))

    def indices(self, B: int, device: torch.device) -> Iterator[tuple[str | None, Tensor | None]]:
        """Each adapter with an index of its rows, of B; None for all."""
        for name, rows in self.groups:
            if rows is None:
                yield name, None
            else:
                assert sum(len(of or ()) for _, of in self.groups) == B, (
                    f"adapters were not chosen for {B} rows"
                )
                yield name, torch.tensor(rows, device=device)

    def names(self, B: int) -> list[str | None]:
        """The adapter of each of B rows."""
        names: list[str | None] = [None] * B
        for name, rows in self.groups:
            for row in range(B) if rows is None else rows:
                names[row] = name
        return names


class Switch:
    """The adapted layers of one model look here. Each thread chooses for its own passes.

    active: the adapter of all passes for which nothing else was chosen.
    """

    def __init__(self, active: str | None = None) -> None:
        self.active = active
        self._here = threading.local()

    def __reduce__(self) -> tuple[type["Switch"], tuple[str | None]]:
        """A copied model has a switch of its own."""
        return Switch, (self.active,)

    @property
    def choice(self) -> Choice:
        """What this thread chose."""
        chosen: Choice | None = getattr(self._here, "choice", None)
        return Choice(((self.active, None),)) if chosen is None else chosen

    @contextmanager
    def choosing(self, choice: Choice) -> Iterator[None]:
        """Passes of this thread go by `choice` inside."""
        before = getattr(self._here, "choice", None)
        self._here.choice = choice
        try:
            yield
        finally:
            self._here.choice = before

"""Several objectives, or one on several corpora, in one run: each step belongs to one part, parts by weight."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hanlin.batches.batch import Rowed
from hanlin.batches.loader import Rows
from hanlin.objective.term import Objective


@dataclass(frozen=True)
class Part:
    """One objective with the rows it learns from and those it is validated on. `weight`: share of the steps."""

    name: str
    objective: Objective
    train: Rows
    held_out: Rows
    weight: float = 1.0


class Mixture:
    """The parts of a run. After any number of steps each part has had its share of them, to within one step.

    The next step goes to the part that is furthest behind its share, the first of equals: nothing is drawn, so that
    the rows taken by each part, which a checkpoint holds, say all about where a run stands.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        assert parts
        assert all(part.weight > 0 for part in parts)
        self.parts = tuple(parts)

    def start(self) -> tuple[int, ...]:
        """Rows taken by each part before the first step."""
        return (0,) * len(self.parts)

    def stream(self, taken: tuple[int, ...]) -> Iterator[tuple[Part, Rowed, tuple[int, ...]]]:
        """Endless (part, batch, rows taken after it) from where `taken` stands."""
        counts = list(taken)
        streams = [part.train.stream(count) for part, count in zip(self.parts, counts, strict=True)]
        while True:
            index = self._next(counts)
            part = self.parts[index]
            counts[index] += part.train.rows
            yield part, next(streams[index]), tuple(counts)

    def _next(self, counts: Sequence[int]) -> int:
        steps = [rows // part.train.rows for rows, part in zip(counts, self.parts, strict=True)]
        step = (sum(steps) + 1) / sum(part.weight for part in self.parts)
        behind = [step * part.weight - taken for part, taken in zip(self.parts, steps, strict=True)]
        return behind.index(max(behind))

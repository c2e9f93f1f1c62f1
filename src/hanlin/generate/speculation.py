"""Trying tokens ahead of a text: more where guesses come true, fewer where they do not.

p is how likely a guess is right, from those that were made. The k-th of a row of guesses is needed with probability
p^k, and is made while that is more than `WORTH`: what a further token of a step costs, of one on its own, times how many
tokens the steps give by then.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hanlin.generate.generation import Piece
from hanlin.generate.proposals import Proposer, Wanted
from hanlin.generate.runner import Chunk
from hanlin.generate.sampling import Chosen
from hanlin.generate.schedule import Part

MOST = 16
"""Tokens that a step tries ahead, of all texts together."""

WORTH = 0.5
"""Least probability that a guess is needed. By simulation on five texts, with what a further token costs the kernel on two
cores (measured: about 0.4 of a step)."""

MEMORY, PATIENCE = 8, 0.02
"""Of how many guesses p is the mean; what it grows by in a step without one, so that they are made again."""


@dataclass(eq=False)
class Attempt:
    """One row's part of a step, with guesses after it; `piece` is what came of it."""

    part: Part
    guesses: Sequence[int] = ()
    piece: Piece | None = None
    drawn: int = 0
    accepted: int = 0

    @property
    def chunk(self) -> Chunk:
        """What the runner computes."""
        slot, adapter = self.part.row.slot.index, self.part.row.generation.adapter
        if self.guesses:
            return Chunk(slot, [*self.part.ids, *self.guesses], "all", adapter)
        return Chunk(slot, self.part.ids, "last" if self.part.whole else "none", adapter)

    def take(self, chosen: Chosen) -> bool:
        """Append the next token; whether the logits after it are there, as it is the one that was guessed."""
        row = self.part.row
        piece = row.generation.accept(chosen)
        self.piece = piece if self.piece is None else self.piece.and_then(piece)
        row.slot.ids.append(chosen.id)
        guessed = self.drawn < len(self.guesses) and chosen.id == self.guesses[self.drawn]
        self.drawn += 1
        self.accepted += guessed
        return guessed and piece.finish_reason is None


class Speculation:
    """Asks a proposer, and remembers how its guesses did."""

    def __init__(self, proposer: Proposer | None) -> None:
        self._proposer = proposer

    def attempts(self, parts: Sequence[Part], spare: int) -> list[Attempt]:
        """The parts with guesses after each text: no more than it has room for, nor than `spare` together."""
        if self._proposer is None:
            return [Attempt(part) for part in parts]
        texts = [part.row for part in parts if part.whole and len(part.ids) == 1]
        each = min(MOST, spare) // max(1, len(texts))
        wanted = []
        for row in texts:
            most = min(_ahead(row.right), row.generation.limit - row.generation.new_tokens - 1, each)
            if most > 0:
                wanted.append(Wanted(row.slot.index, row.slot.ids, most))
        found = self._proposer.propose(wanted) if wanted else []
        guesses = {one.slot: ids for one, ids in zip(wanted, found, strict=True)}
        return [Attempt(part, guesses.get(part.row.slot.index, ())) for part in parts]

    def learn(self, attempt: Attempt) -> None:
        """Take note of how guesses did."""
        row, proposed, accepted = attempt.part.row, len(attempt.guesses), attempt.accepted
        row.generation.proposed += proposed
        row.generation.accepted += accepted
        if proposed:
            judged = accepted + (accepted < proposed)  # nothing is known of guesses after a wrong one
            row.right = (MEMORY * row.right + accepted) / (MEMORY + judged)
        elif row.right <= WORTH:
            row.right += PATIENCE


def _ahead(right: float) -> int:
    """The greatest k with p^k of at least `WORTH`."""
    return MOST if right >= WORTH ** (1 / MOST) else int(math.log(WORTH) / math.log(right))

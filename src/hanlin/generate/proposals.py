"""Guesses at the next tokens, which a model then checks all at once.

A guess costs little; the model draws each token as ever and goes on for as long as its draws are the guessed ones, so
that texts are the same as without. Source: Leviathan, Kalman and Matias 2023 (speculative decoding), with guesses
that are certain: then accepting with probability p(x) and else drawing from the rest is drawing from p.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Wanted:
    """What is asked for one text: up to `most` tokens after `ids`.

    A slot's text only grows from call to call for as long as `ids` is the same list; another list is another text.
    """

    slot: int
    ids: Sequence[int]
    most: int


class Proposer(Protocol):
    """Guesses how texts go on. For one thread at a time."""

    def propose(self, wanted: Sequence[Wanted]) -> list[Sequence[int]]:
        """Guesses for each text, none where there is nothing to go by; the same for the same text."""

    def another(self, slots: int) -> "Proposer":
        """One that guesses in the same way for another engine, of so many slots."""


class PromptLookup:
    """What followed the longest end of the text, `shortest` tokens at least, that occurred in it before.

    For texts that repeat their prompt: edits, summaries, answers from documents. Source: Saxena 2023 (prompt lookup
    decoding); occurrences are found by a suffix automaton, so that a token costs the same however long the text is.
    """

    def __init__(self, shortest: int = 2) -> None:
        self._shortest = shortest
        self._texts: dict[int, tuple[Sequence[int], SuffixAutomaton]] = {}

    def propose(self, wanted: Sequence[Wanted]) -> list[Sequence[int]]:
        """As `Proposer`."""
        return [self._propose(one) for one in wanted]

    def another(self, slots: int) -> "PromptLookup":
        """As `Proposer`."""
        return PromptLookup(self._shortest)

    def _propose(self, one: Wanted) -> Sequence[int]:
        known, automaton = self._texts.get(one.slot, (None, None))
        if known is not one.ids or automaton is None:
            automaton = SuffixAutomaton()
            self._texts[one.slot] = one.ids, automaton
        for id in one.ids[automaton.read :]:
            automaton.extend(id)
        length, end = automaton.repeated()
        return one.ids[end : end + one.most] if length >= self._shortest else ()


class SuffixAutomaton:
    """All substrings of a growing text. Source: Blumer et al. 1985, section 2; amortised constant time a token."""

    def __init__(self) -> None:
        self.read = 0
        self._next: list[dict[int, int]] = [{}]
        self._link = [-1]
        self._length = [0]
        self._end = [0]  # where an earlier occurrence of a state's strings ends
        self._last = 0

    def extend(self, id: int) -> None:
        """Append one token."""
        self.read += 1
        state, at = self._state({}, self._length[self._last] + 1, 0, self.read), self._last
        while at >= 0 and id not in self._next[at]:
            self._next[at][id] = state
            at = self._link[at]
        if at >= 0:
            self._link[state] = self._split(at, id)
        self._last = state

    def repeated(self) -> tuple[int, int]:
        """The length of the longest end of the text that occurred before, and where an occurrence of it ended."""
        link = self._link[self._last]
        return (0, 0) if link < 0 else (self._length[link], self._end[link])

    def _split(self, at: int, id: int) -> int:
        """The state of what is one token longer than the longest string of `at`; cut off from a longer one's if need
        be."""
        longer = self._next[at][id]
        if self._length[longer] == self._length[at] + 1:
            return longer
        copy = self._state(
            self._next[longer].copy(), self._length[at] + 1, self._link[longer], self._end[longer]
        )
        self._link[longer] = copy
        while at >= 0 and self._next[at].get(id) == longer:
            self._next[at][id] = copy
            at = self._link[at]
        return copy

    def _state(self, following: dict[int, int], length: int, link: int, end: int) -> int:
        self._next.append(following)
        self._length.append(length)
        self._link.append(link)
        self._end.append(end)
        return len(self._link) - 1

"""One group of a beam search: the hypotheses that run, those that have ended, and when nothing better can come."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from hanlin.generate.beam_config import BeamConfig


@dataclass(frozen=True)
class Hypothesis:
    """A text that was found. ids: without the token that ended it; `ended` is false where the length did.

    log_probabilities: of each of its tokens, the end included, in nats; log_probability: their sum. score: by which
    hypotheses are ranked. group: which group of a diverse search found it.
    """

    ids: list[int]
    log_probabilities: tuple[float, ...]
    log_probability: float
    score: float
    ended: bool
    group: int = 0

    @property
    def finish_reason(self) -> Literal["stop", "length"]:
        """Why it ends where it does."""
        return "stop" if self.ended else "length"


class Candidate(NamedTuple):
    """A continuation: log-probability of all tokens, of the new one, the row that it continues, the new token."""

    total: float
    log_p: float
    row: int
    token: int


@dataclass(frozen=True)
class Running:
    """A text that goes on: what stands before it and its tokens, and their log-probabilities."""

    ids: list[int]
    log_probability: float
    log_probabilities: tuple[float, ...] = ()


class Group:
    """The search for the texts of one source by some of its beams. running: as many as there are rows; some are dead, of
    log-probability -inf, where there are fewer continuations than beams."""

    def __init__(
        self, number: int, begun: Sequence[int], config: BeamConfig, ends: frozenset[int], most: int
    ) -> None:
        assert most >= 1
        self.number, self._begun, self._config, self._ends, self._most = (
            number,
            len(begun),
            config,
            ends,
            most,
        )
        self.running = [Running([*begun], 0.0)]
        self.ended = list[Hypothesis]()
        self.done = False
        self._length = 0

    @property
    def last_tokens(self) -> list[int]:
        """What the running hypotheses wrote last; none if the search is done."""
        alive = [] if self.done else self.running
        return [one.ids[-1] for one in alive if one.log_probability > -math.inf]

    def advance(self, candidates: Sequence[Candidate]) -> list[int]:
        """Take the best continuations, best first; which rows go on, none if the search is done."""
        beams = self._config.beams_of_group
        self._length += 1
        running, parents = list[Running](), list[int]()
        for place, one in enumerate(candidates):
            if one.total == -math.inf:
                break
            before = self.running[one.row]
            after = Running([*before.ids, one.token], one.total, (*before.log_probabilities, one.log_p))
            if one.token in self._ends or self._length == self._most:
                if place < beams:
                    self._end(after)
            elif len(running) < beams:
                running.append(after)
                parents.append(one.row)
        self.done = not running or not self._can_improve(max(one.log_probability for one in running))
        if self.done:
            if not self.ended:  # nothing may follow
                self.ended = [self._hypothesis(self.running[0], max(1, self._length - 1))]
            return []
        missing = beams - len(running)
        self.running = running + [Running(running[0].ids, -math.inf)] * missing
        return parents + parents[:1] * missing

    def _end(self, text: Running) -> None:
        self.ended.append(self._hypothesis(text, self._length))
        self.ended = sorted(self.ended, key=lambda one: -one.score)[: self._config.beams_of_group]

    def _hypothesis(self, text: Running, length: int) -> Hypothesis:
        ids = text.ids[self._begun :]
        ended = bool(ids) and ids[-1] in self._ends
        score = text.log_probability / length**self._config.length_penalty
        return Hypothesis(
            ids[:-1] if ended else ids,
            text.log_probabilities,
            text.log_probability,
            score,
            ended,
            self.number,
        )

    def _can_improve(self, best_running: float) -> bool:
        config = self._config
        if len(self.ended) < config.beams_of_group:
            return True
        if config.early_stopping is True or config.beams_of_group == 1:
            return False
        favours_length = config.early_stopping == "never" and config.length_penalty > 0
        length = self._most if favours_length else self._length
        best_possible: float = best_running / length**config.length_penalty
        return best_possible > self.ended[-1].score

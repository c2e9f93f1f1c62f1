"""Beam search: of all continuations of a source, the likeliest few are followed at once.

What scores the next tokens is passed in, so that it serves encoder-decoders and decoders alike. The rules of when a search
is over are those of `transformers`. S sources, K beams, R rows (a running hypothesis each), V vocabulary.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor

from hanlin.base.config import Settings


class BeamConfig(Settings):
    """How the likeliest text is looked for."""

    beams: int = Field(4, ge=1)
    """Hypotheses that are followed at once; 1 takes the likeliest token at each step (greedy)."""
    length_penalty: float = 1.0
    """A hypothesis of n tokens scores its log-probability / n to this power; 0 favours short ones."""
    early_stopping: bool | Literal["never"] = False
    """true: stop once as many have ended as there are beams. false: when no running one, at its present length, scores
    above the worst ended one. never: when none can."""
    no_repeat_ngram: int = Field(0, ge=0)
    """No run of so many tokens comes twice in a text; 0: any may (arXiv 1705.04304, section 2.5)."""


@dataclass(frozen=True)
class Hypothesis:
    """A text that was found. ids: without the token that ended it; `ended` is false where the length did.

    log_probability: of all its tokens, the end included, in nats; score: by which hypotheses are ranked.
    """

    ids: list[int]
    log_probability: float
    score: float
    ended: bool


class Rows(Protocol):
    """The state of R texts while they are written."""

    def logits(self, last_R: Tensor) -> Tensor:
        """Append a token to each text; scores of what comes next, (R, V), float32."""

    def keep(self, rows_R: Tensor) -> None:
        """Go on with these rows, in this order; one may come several times."""


@torch.inference_mode()
def beam_search(
    rows: Rows,
    begun: Sequence[Sequence[int]],
    config: BeamConfig,
    *,
    ends: Collection[int],
    max_new_tokens: int,
    banned: Sequence[int] = (),
    device: torch.device | str = "cpu",
) -> list[list[Hypothesis]]:
    """Up to K hypotheses for each source, the best first, ranked by sum_t log P(y_t | y_<t, x) / n^length_penalty.

    begun: what stands before each text; `rows` has read all but the last token of it. ends: tokens that end a text.
    banned: tokens that are never written. A source that is done leaves `rows`.
    Source: arXiv 1211.3711 (Graves 2012), section 2.4; division by the length arXiv 1409.0473, section 5.
    """
    searches = [_Search(list(ids), config, frozenset(ends), max_new_tokens) for ids in begun]
    active, last = searches, [ids[-1] for ids in begun]
    count = max(2, 1 + len(ends)) * config.beams
    for _ in range(max_new_tokens):
        log_p_RV = rows.logits(torch.tensor(last, device=device)).float().log_softmax(-1)
        if banned:
            log_p_RV[:, list(banned)] = -math.inf
        if config.no_repeat_ngram:
            _ban_repeated(log_p_RV, active, config.no_repeat_ngram)
        candidates, first, chosen = _best(log_p_RV, active, count), 0, list[int]()
        last = []
        for search, some in zip(active, candidates, strict=True):
            width = len(search.running)
            parents = search.advance(some)
            chosen += [first + parent for parent in parents]
            last += [running.ids[-1] for running in search.running] if parents else []
            first += width
        active = [search for search in active if not search.done]
        if not active:
            break
        if chosen != list(range(first)):
            rows.keep(torch.tensor(chosen, device=device))
    return [search.ended for search in searches]


@dataclass(frozen=True)
class _Running:
    ids: list[int]
    log_probability: float


_Candidate = tuple[float, int, int]
"""Log-probability of all tokens, the row it continues, the new token."""


class _Search:
    """The search for the text of one source. running: as many as there are rows; some are dead, of log-probability
    -inf, where there are fewer continuations than beams."""

    def __init__(self, begun: list[int], config: BeamConfig, ends: frozenset[int], most: int) -> None:
        self.begun, self.config, self.ends, self.most = begun, config, ends, most
        self.running, self.ended, self.length, self.done = (
            [_Running([*begun], 0.0)],
            list[Hypothesis](),
            0,
            False,
        )

    def advance(self, candidates: Sequence[_Candidate]) -> list[int]:
        """Take the best continuations, best first; which rows go on, none if the search is done."""
        beams = self.config.beams
        self.length += 1
        running, parents = list[_Running](), list[int]()
        for place, (log_p, row, token) in enumerate(candidates):
            if log_p == -math.inf:
                break
            if token in self.ends or self.length == self.most:
                if place < beams:
                    self._end(self.running[row].ids, token, log_p)
            elif len(running) < beams:
                running.append(_Running([*self.running[row].ids, token], log_p))
                parents.append(row)
        self.done = not running or not self._can_improve(running[0].log_probability)
        if self.done:
            if not self.ended:  # nothing may follow
                best = self.running[0]
                text = best.ids[len(self.begun) :]
                score = best.log_probability / max(1, len(text)) ** self.config.length_penalty
                self.ended = [Hypothesis(text, best.log_probability, score, ended=False)]
            return []
        missing = beams - len(running)
        self.running = running + [_Running(running[0].ids, -math.inf)] * missing
        return parents + parents[:1] * missing

    def _end(self, ids: list[int], token: int, log_p: float) -> None:
        ended = token in self.ends
        text = [*ids, token][len(self.begun) : -1 if ended else None]
        self.ended.append(Hypothesis(text, log_p, log_p / self.length**self.config.length_penalty, ended))
        self.ended = sorted(self.ended, key=lambda one: -one.score)[: self.config.beams]

    def _can_improve(self, best_running: float) -> bool:
        config = self.config
        if len(self.ended) < config.beams:
            return True
        if config.early_stopping is True or config.beams == 1:
            return False
        favours_length = config.early_stopping == "never" and config.length_penalty > 0
        length = self.most if favours_length else self.length
        best_possible: float = best_running / length**config.length_penalty
        return best_possible > self.ended[-1].score


def _best(log_p_RV: Tensor, active: Sequence[_Search], count: int) -> list[list[_Candidate]]:
    """The `count` best continuations of each search, best first; all searches have equally many rows."""
    before_SK = torch.tensor([[one.log_probability for one in search.running] for search in active])
    S, K = before_SK.shape
    total_SX = (log_p_RV.view(S, K, -1) + before_SK.to(log_p_RV).unsqueeze(2)).flatten(1)
    best = total_SX.topk(min(count, total_SX.shape[1]), dim=1)
    V = log_p_RV.shape[1]
    return [
        [(log_p, place // V, place % V) for log_p, place in zip(log_ps, places, strict=True)]
        for log_ps, places in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


def _ban_repeated(log_p_RV: Tensor, active: Sequence[_Search], size: int) -> None:
    """Take out each token that would complete a run of `size` tokens that the text already has."""
    texts = [running.ids for search in active for running in search.running]
    for row, ids in enumerate(texts):
        tail = ids[len(ids) - size + 1 :]
        after = [
            ids[stop]
            for stop in range(size - 1, len(ids))
            if ids[stop - size + 1 : stop] == tail
        ]  # fmt: skip
        if after:
            log_p_RV[row, after] = -math.inf

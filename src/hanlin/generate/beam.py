"""Beam search: of all continuations of a source, the likeliest few are followed at once.

What scores the next tokens is passed in, so that it serves encoder-decoders and decoders alike. The rules of when a search
is over are those of `transformers`. S sources, G groups, K beams of a group, R rows (a running hypothesis each), V vocabulary.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import Protocol

import torch
from torch import Tensor

from hanlin.generate.beam_config import BeamConfig
from hanlin.generate.beam_group import Candidate, Group, Hypothesis
from hanlin.generate.forbidden import Forbidden
from hanlin.generate.sampling import not_finite
from hanlin.tokenizer.tokenizer import Tokenizer

__all__ = ["BeamConfig", "Hypothesis", "Rows", "beam_search"]


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
    limits: Sequence[int],
    banned: Sequence[int] = (),
    tokenizer: Tokenizer | None = None,
    device: torch.device | str = "cpu",
) -> list[list[Hypothesis]]:
    """Up to `config.best` hypotheses for each source, best first, ranked by sum_t log P(y_t | y_<t, x) / n^length_penalty.

    begun: what stands before each text; `rows` has read all but the last token of it. ends: tokens that end a text.
    limits: the most tokens of each text, at least 1. banned: tokens that are never written; where nothing may follow, a
    text stops. tokenizer: needed for `bad_words`. A source that is done leaves `rows`. Raises `CheckpointError` where there are no finite logits.
    Source: arXiv 1211.3711 (Graves 2012), section 2.4; division by the length arXiv 1409.0473, section 5; groups arXiv
    1610.02424 (Vijayakumar et al.), algorithm 1.
    """
    ends, numbers = frozenset(ends), range(config.groups)
    forbidden = Forbidden(banned, config.no_repeat_ngram, config.bad_words, tokenizer)
    groups = [
        [Group(n, ids, config, ends, most) for n in numbers] for ids, most in zip(begun, limits, strict=True)
    ]
    active = [(source, group) for source, those in enumerate(groups) for group in those]
    if config.groups > 1:
        rows.keep(torch.tensor([source for source, _ in active], device=device))
    for step in range(max(limits, default=0)):
        texts = [running.ids for _, group in active for running in group.running]
        logits_RV = rows.logits(torch.tensor([ids[-1] for ids in texts], device=device)).float()
        if not bool(logits_RV.amax(1).isfinite().all()):
            raise not_finite()
        log_p_RV = logits_RV.log_softmax(1)
        given = [len(begun[source]) for source, group in active for _ in group.running]
        forbidden.remove(log_p_RV, texts, given)
        if step < config.min_new_tokens:
            log_p_RV[:, list(ends)] = -torch.inf
        chosen = _advance(active, log_p_RV, config, max(2, 1 + len(ends)) * config.beams_of_group)
        active = [(source, group) for source, group in active if not group.done]
        if not active:
            break
        if chosen != list(range(len(texts))):
            rows.keep(torch.tensor(chosen, device=device))
    return [
        sorted((one for group in those for one in group.ended), key=lambda one: -one.score)[: config.best]
        for those in groups
    ]


def _advance(
    active: Sequence[tuple[int, Group]], log_p_RV: Tensor, config: BeamConfig, count: int
) -> list[int]:
    """One step of every group, those of a source one after another; which rows go on.

    A group's choice at this step costs a later group of the same source `diversity` times how often it was made.
    """
    firsts = list(itertools.accumulate((len(group.running) for _, group in active), initial=0))
    written: defaultdict[int, Counter[int]] = defaultdict(Counter)
    parents: list[list[int]] = [[]] * len(active)
    for number in range(config.groups):
        places = [place for place, (_, group) in enumerate(active) if group.number == number]
        if not places:
            continue
        rows = [row for place in places for row in range(firsts[place], firsts[place + 1])]
        before = [written[active[place][0]] for place in places]
        discount_SV = _discount(log_p_RV, before, config.diversity) if config.diversity else None
        best = _best(log_p_RV[rows], [active[place][1] for place in places], count, discount_SV)
        for place, some in zip(places, best, strict=True):
            source, group = active[place]
            parents[place] = [firsts[place] + row for row in group.advance(some)]
            written[source].update(group.last_tokens)
    return [row for some in parents for row in some]


def _discount(log_p_RV: Tensor, written: Sequence[Counter[int]], diversity: float) -> Tensor:
    """What each token costs, (S, V): the Hamming diversity of arXiv 1610.02424, section 3.2."""
    discount_SV = log_p_RV.new_zeros(len(written), log_p_RV.shape[1])
    for discount_V, tokens in zip(discount_SV, written, strict=True):
        for token, times in tokens.items():
            discount_V[token] = diversity * times
    return discount_SV


def _best(
    log_p_RV: Tensor, groups: Sequence[Group], count: int, discount_SV: Tensor | None
) -> list[list[Candidate]]:
    """The `count` best continuations of each group, best first; all groups have equally many rows."""
    before_SK = torch.tensor([[one.log_probability for one in group.running] for group in groups])
    (S, K), V = before_SK.shape, log_p_RV.shape[1]
    log_p_SKV = log_p_RV.view(S, K, V)
    total_SKV = log_p_SKV + before_SK.to(log_p_RV).unsqueeze(2)
    ranked_SKV = total_SKV if discount_SV is None else total_SKV - discount_SV.unsqueeze(1)
    best_SX = ranked_SKV.flatten(1).topk(min(count, K * V), dim=1).indices
    parts = (total_SKV.flatten(1).gather(1, best_SX), log_p_SKV.flatten(1).gather(1, best_SX), best_SX)
    return [
        [Candidate(total, log_p, place // V, place % V) for total, log_p, place in zip(*three, strict=True)]
        for three in zip(*(part.tolist() for part in parts), strict=True)
    ]

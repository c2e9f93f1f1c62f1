"""Log-probabilities of given tokens, in nats, for texts of any length, many at a time by a model in PyTorch.

B rows of a batch, T time, C width, N counted tokens, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hanlin.base.device import Compute
from hanlin.base.progress import track
from hanlin.model.causal import CausalModel

Ids = Sequence[int] | NDArray[np.integer]
Floats = NDArray[np.float64]

TOKENS_AT_ONCE = 2**13
"""Tokens that one batch may hold, padding included."""

LOGITS_AT_ONCE = 2**22
"""Logits computed at a time (16 MiB in float32): whole texts times a large vocabulary would not fit."""


@dataclass(frozen=True)
class Window:
    """Ids start .. stop-1 of a text, of which those from `scored` on are counted; the last is only a target."""

    text: int
    start: int
    scored: int
    stop: int


@dataclass(frozen=True)
class TokenScores:
    """Of each counted token, (N,): its log-probability, float64, and whether no token was likelier."""

    log_p: Floats
    likeliest: NDArray[np.bool_]


def token_log_probabilities(
    model: CausalModel, texts: Sequence[Ids], compute: Compute, first: int = 1, title: str = ""
) -> list[Floats]:
    """log P(x_t | x_<t) for t = first .. T-1 of each text, float64; as `token_scores`."""
    return [one.log_p for one in token_scores(model, texts, compute, [first] * len(texts), title)]


@torch.inference_mode()
def token_scores(
    model: CausalModel, texts: Sequence[Ids], compute: Compute, firsts: Sequence[int], title: str = ""
) -> list[TokenScores]:
    """What the model says of x_t given x_<t, for t = first .. T-1 of each text. `first` is at least 1: the first token
    has no condition. With a `title`, progress is shown.

    A text longer than the window is read in windows that advance by half: each token is scored once, with at
    least half a window before it (all that there is, near the beginning). Source: Press et al. 2021
    (Shortformer), section 2. Windows of like length share a batch, padded on the right: attention is
    causal, so what follows a token cannot change its score.
    """
    assert min(firsts, default=1) >= 1
    assert not model.training
    sizes = [max(0, len(ids) - first) for ids, first in zip(texts, firsts, strict=True)]
    scores = [TokenScores(np.full(size, np.nan), np.zeros(size, bool)) for size in sizes]
    cuts = [
        Window(number, *cut)
        for number, (ids, first) in enumerate(zip(texts, firsts, strict=True))
        for cut in windows(first, len(ids), model.config.window)
    ]
    batches = list(_batches(sorted(cuts, key=lambda cut: cut.start - cut.stop)))
    for batch in track(batches, title, len(batches)) if title else batches:
        for cut, said in zip(batch, _score(model, compute, texts, batch), strict=True):
            place = slice(cut.scored - firsts[cut.text], cut.stop - firsts[cut.text])
            scores[cut.text].log_p[place] = said.log_p
            scores[cut.text].likeliest[place] = said.likeliest
    return scores


def windows(first: int, length: int, window: int) -> Iterator[tuple[int, int, int]]:
    """(start, scored, stop) of each window; one reads up to `window` + 1 ids, the last one as target only."""
    stop = min(length, window + 1)
    start, scored = 0, first
    if scored >= stop:
        start = max(0, scored - (window - window // 2))
        stop = min(length, start + window + 1)
    while scored < length:
        yield start, scored, stop
        scored = stop
        stop = min(length, scored + max(1, window // 2))
        start = max(0, stop - window - 1)


def _batches(cuts: Sequence[Window]) -> Iterator[Sequence[Window]]:
    """Runs of windows, longest first, of together at most `TOKENS_AT_ONCE` tokens with their padding."""
    place = 0
    while place < len(cuts):
        rows = max(1, TOKENS_AT_ONCE // (cuts[place].stop - cuts[place].start))
        yield cuts[place : place + rows]
        place += rows


def _score(
    model: CausalModel, compute: Compute, texts: Sequence[Ids], batch: Sequence[Window]
) -> list[TokenScores]:
    """Of the counted tokens of each window in `batch`; N = all of them, one window after another."""
    T = max(cut.stop - cut.start for cut in batch) - 1
    inputs_BT = np.zeros((len(batch), T), np.int64)
    counted_BT = np.zeros((len(batch), T), bool)
    for row, cut in enumerate(batch):
        inputs_BT[row, : cut.stop - cut.start - 1] = texts[cut.text][cut.start : cut.stop - 1]
        counted_BT[row, cut.scored - cut.start - 1 : cut.stop - cut.start - 1] = True
    targets = [np.asarray(texts[cut.text][cut.scored : cut.stop], np.int64) for cut in batch]
    targets_N = torch.from_numpy(np.concatenate(targets)).to(compute.device)
    with compute.autocast():
        hidden_BTC = model.hidden(torch.from_numpy(inputs_BT).to(compute.device))
        # Only what is counted goes through the output head, a slice at a time: logits are the largest array.
        hidden_NC = hidden_BTC[torch.from_numpy(counted_BT).to(compute.device)]
        rows = max(1, LOGITS_AT_ONCE // model.config.vocab_size)
        parts = [
            scores_of_logits(model.logits(hidden_NC[i : i + rows]), targets_N[i : i + rows])
            for i in range(0, len(targets_N), rows)
        ]
    ends = np.cumsum([len(target) for target in targets])[:-1]
    log_p, likeliest = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
    split = np.split(log_p.double().numpy(), ends), np.split(likeliest.numpy(), ends)
    return [TokenScores(*both) for both in zip(*split, strict=True)]


def scores_of_logits(logits_NV: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """Of each target its log-probability, float32, and whether no token was likelier: (N,) each."""
    return -F.cross_entropy(logits_NV, targets_N, reduction="none"), logits_NV.argmax(1) == targets_N

"""Log-probabilities of given tokens, in nats, for texts of any length.

B rows of a batch, T time, C width, N counted tokens, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

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


@torch.inference_mode()
def token_log_probabilities(
    model: CausalModel, texts: Sequence[Ids], compute: Compute, first: int = 1, title: str = ""
) -> list[Floats]:
    """log P(x_t | x_<t) for t = first .. T-1 of each text, float64. `first` is at least 1: the first token has
    no condition. With a `title`, progress is shown.

    A text longer than the window is read in windows that advance by half: each token is scored once, with at
    least half a window before it (all that there is, near the beginning). Source: Press et al. 2021
    (Shortformer), section 2. Windows of like length share a batch, padded on the right: attention is
    causal, so what follows a token cannot change its score.
    """
    assert first >= 1
    assert not model.training
    scores = [np.full(max(0, len(ids) - first), np.nan) for ids in texts]
    cuts = [
        Window(number, *cut)
        for number, ids in enumerate(texts)
        for cut in windows(first, len(ids), model.config.window)
    ]
    batches = list(_batches(sorted(cuts, key=lambda cut: cut.start - cut.stop)))
    for batch in track(batches, title, len(batches)) if title else batches:
        for cut, log_p in zip(batch, _score(model, compute, texts, batch), strict=True):
            scores[cut.text][cut.scored - first : cut.stop - first] = log_p
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
) -> list[Floats]:
    """The counted log-probabilities of each window in `batch`; N = all of them, one window after another."""
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
        nll = [
            F.cross_entropy(model.logits(hidden_NC[i : i + rows]), targets_N[i : i + rows], reduction="none")
            for i in range(0, len(targets_N), rows)
        ]
    ends = np.cumsum([len(target) for target in targets])[:-1]
    return np.split(-torch.cat(nll).cpu().double().numpy(), ends)

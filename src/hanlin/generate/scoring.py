"""Log-probabilities of given tokens, in nats. T tokens, V vocabulary, C width."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from hanlin.base.device import Compute
from hanlin.model.decoder import Decoder

_ROWS_AT_ONCE = 256
"""Logits of so many positions are held at once: whole texts times a large vocabulary would not fit in
memory."""


@torch.inference_mode()
def token_log_probabilities(model: Decoder, ids: Sequence[int], first: int, compute: Compute) -> Tensor:
    """log P(x_t | x_<t) for t = first .. T-1, float64, on the CPU. `first` is at least 1: the first token
    has no condition.

    A text longer than the window is read in windows that advance by half: each token is scored once, with
    at least half a window before it (all that there is, near the beginning). Source: Press et al. 2021
    (Shortformer), section 2.
    """
    assert 1 <= first <= len(ids)
    parts = [torch.empty(0, dtype=torch.float64)]
    for start, scored, stop in _windows(first, len(ids), model.config.window):
        ids_1T = torch.tensor([ids[start:stop]], device=compute.device)
        with compute.autocast():
            hidden_TC = model.hidden(ids_1T[:, :-1])[0, scored - start - 1 :]
        targets_T = ids_1T[0, scored - start :]
        for row in range(0, len(targets_T), _ROWS_AT_ONCE):
            targets_R = targets_T[row : row + _ROWS_AT_ONCE]
            with compute.autocast():
                logits_RV = model.head(hidden_TC[row : row + _ROWS_AT_ONCE])
            parts.append(-F.cross_entropy(logits_RV.float(), targets_R, reduction="none").double().cpu())
    return torch.cat(parts)


def _windows(first: int, length: int, window: int) -> Iterator[tuple[int, int, int]]:
    """(start, first scored, stop) of each window; a window reads up to `window` + 1 ids, the last one as
    target only."""
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

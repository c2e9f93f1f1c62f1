"""Which key each query may look at.

B batch, T query time, S key time.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mask:
    """Either plainly causal over equal times (`allowed_BTS` is None), or the allowed pairs themselves.

    `causal` without `allowed_BTS` lets fused kernels skip half the work; neither means every key is allowed.
    """

    causal: bool
    allowed_BTS: Tensor | None = None

    def dense(self, T: int, S: int, device: torch.device) -> Tensor:
        """True where a query may look, broadcastable to (B, T, S)."""
        if self.allowed_BTS is not None:
            return self.allowed_BTS
        everywhere_TS = torch.ones(T, S, dtype=torch.bool, device=device)
        return everywhere_TS.tril(S - T) if self.causal else everywhere_TS


def causal_mask(documents_BT: Tensor | None = None) -> Mask:
    """Each token sees itself and earlier tokens, only of its own document where `documents_BT` is given."""
    if documents_BT is None:
        return Mask(causal=True)
    same_BTS = documents_BT.unsqueeze(2) == documents_BT.unsqueeze(1)
    return Mask(causal=True, allowed_BTS=same_BTS.tril())


def cached_mask(lengths: list[int], T: int, device: torch.device) -> Mask:
    """T new tokens a row, of which row b comes after `lengths[b]` cached ones; keys padded to the longest row."""
    if T == 1 and len(set(lengths)) == 1:
        return Mask(causal=False)
    if not any(lengths):
        return Mask(causal=True)
    positions_BT = torch.tensor(lengths, device=device)[:, None] + torch.arange(T, device=device)
    keys_S = torch.arange(max(lengths) + T, device=device)
    return Mask(causal=True, allowed_BTS=keys_S <= positions_BT.unsqueeze(2))

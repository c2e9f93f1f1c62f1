"""Positions seen as a bias on attention scores, by the distance from query to key.

B batch, T query time, S key time, H heads, N buckets.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn

from hanlin.model.config import CoreConfig


class RelativeBias(nn.Module):
    """A learned number for each head and bucket of distances, shared by all blocks. Source: arXiv 1910.10683, 2.1."""

    def __init__(self, config: CoreConfig, causal: bool) -> None:
        super().__init__()
        self.causal, self.max_distance = causal, config.relative_max_distance
        self.bucket = nn.Embedding(config.relative_buckets, config.heads)

    def forward(self, query_places_BT: Tensor, key_places_BS: Tensor) -> Tensor:
        """The bias of every pair: (B, H, T, S)."""
        distance_BTS = key_places_BS.unsqueeze(1) - query_places_BT.unsqueeze(2)
        buckets = relative_bucket(distance_BTS, self.causal, self.bucket.num_embeddings, self.max_distance)
        bias_BTSH: Tensor = self.bucket(buckets)
        return bias_BTSH.permute(0, 3, 1, 2)


def relative_bucket(distance: Tensor, causal: bool, buckets: int, max_distance: int) -> Tensor:
    """The bucket, 0 .. buckets-1, of key place - query place: exact for near ones, logarithmic for far ones.

    Without `causal` half of the buckets are for keys that come later. Source: arXiv 1910.10683, section 2.1.
    """
    later = torch.zeros_like(distance)
    if causal:
        distance = -distance.clamp(max=0)
    else:
        buckets //= 2
        later = (distance > 0).long() * buckets
        distance = distance.abs()
    exact = buckets // 2
    # In float32 and in this order, as the published weights were trained.
    far = (
        torch.log(distance.clamp(min=1).float() / exact) / math.log(max_distance / exact) * (buckets - exact)
    )
    far = (exact + far.long()).clamp(max=buckets - 1)
    return later + torch.where(distance < exact, distance, far)


class LinearBias(nn.Module):
    """ALiBi: minus the distance, times a slope of each head. Source: arXiv 2108.12409, section 3."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.register_buffer("slopes_H", torch.empty(heads), persistent=False)
        self.fill()

    def fill(self) -> None:
        """Compute the slopes, in float32: 2^(-8h/n) for n = 2^k heads; others take every second of 2n's."""
        slopes_H = cast(Tensor, self.slopes_H)
        if slopes_H.is_meta:  # an outline has no values
            return
        power = 2 ** math.floor(math.log2(self.heads))
        slopes = [2 ** (-8 * h / power) for h in range(1, power + 1)]
        slopes += [2 ** (-4 * h / power) for h in range(1, 2 * (self.heads - power), 2)]
        slopes_H.copy_(torch.tensor(slopes))

    def forward(self, query_places_BT: Tensor, key_places_BS: Tensor) -> Tensor:
        """The bias of every pair: (B, H, T, S)."""
        distance_BTS = (key_places_BS.unsqueeze(1) - query_places_BT.unsqueeze(2)).abs()
        return -distance_BTS.unsqueeze(1) * cast(Tensor, self.slopes_H).view(1, -1, 1, 1)


def build_bias(config: CoreConfig, causal: bool) -> nn.Module | None:
    """The bias that `config` asks for, if any."""
    if config.position == "relative":
        return RelativeBias(config, causal)
    return LinearBias(config.heads) if config.position == "alibi" else None

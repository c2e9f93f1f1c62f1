"""Normalisation of the residual stream."""

import torch.nn.functional as F
from torch import Tensor, nn

from hanlin.model.config import CoreConfig


def build_norm(config: CoreConfig, size: int | None = None) -> nn.Module:
    """The norm that `config` asks for, over vectors of `size` (default: the width)."""
    size = config.width if size is None else size
    if config.norm == "rms":
        return RMSNorm(size, config.norm_eps, config.norm_unit_offset)
    return LayerNorm(size, config.norm_eps, config.norm_bias)


class RMSNorm(nn.Module):
    """y = x / sqrt(mean(x^2) + eps) * weight, computed in float32. Source: arXiv 1910.07467, eq. 4.

    With `unit_offset` the factor is 1 + weight, so that weight decay pulls it towards one.
    """

    def __init__(self, width: int, eps: float, unit_offset: bool = False) -> None:
        super().__init__()
        self.eps, self.unit_offset = eps, unit_offset
        self.weight = nn.Parameter(_empty(width))

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Normalise the last axis; same shape and dtype."""
        x32 = x_BTC.float()
        scale_BT1 = (x32.square().mean(-1, keepdim=True) + self.eps).rsqrt()
        if self.unit_offset:
            return (x32 * scale_BT1 * (1 + self.weight.float())).to(x_BTC.dtype)
        return (x32 * scale_BT1).to(x_BTC.dtype) * self.weight


class LayerNorm(nn.Module):
    """y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias. Source: arXiv 1607.06450, eq. 4."""

    def __init__(self, width: int, eps: float, bias: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(_empty(width))
        self.bias = nn.Parameter(_empty(width)) if bias else None

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Normalise the last axis; same shape and dtype."""
        return F.layer_norm(x_BTC, self.weight.shape, self.weight, self.bias, self.eps)


def _empty(width: int) -> Tensor:
    """Memory only: every initial value is set in initialize.py."""
    return Tensor(width)

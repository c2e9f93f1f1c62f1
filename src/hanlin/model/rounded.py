"""Linear layers as the kernel computes those with quantised weights: what comes in is rounded to int8 by blocks.

I inputs, O outputs; N blocks of B values.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK = 32
"""Inputs that share a scale."""

_SMALLEST = 2.0**-100


def round_blocks(x: Tensor) -> Tensor:
    """x with each block of 32 values of its last axis rounded to whole multiples of a = max|x| / 127, halves to even.

    A block whose greatest value is below 2^-100 becomes zeros. float32, the same shape.
    """
    x_NB = x.float().reshape(-1, BLOCK)
    most_N1 = x_NB.abs().amax(-1, keepdim=True)
    rounded_NB = torch.round(x_NB * (127 / most_N1)) * (most_N1 / 127)
    return rounded_NB.masked_fill(most_N1 < _SMALLEST, 0.0).view(x.shape)


class RoundedLinear(nn.Linear):
    """y = round(x) W^T + b: the input rounded, the weight as it is."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., I) to (..., O)."""
        return F.linear(round_blocks(input).to(input.dtype), self.weight, self.bias)


def round_inputs(model: nn.Module, names: Iterable[str]) -> None:
    """Let these linear layers of `model` round what comes in."""
    for name in names:
        layer = model.get_submodule(name)
        assert type(layer) is nn.Linear
        layer.__class__ = RoundedLinear

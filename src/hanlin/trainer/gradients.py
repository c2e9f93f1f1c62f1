"""Gradients seen: the norm of each part of a network, the whole clipped, vanishing and exploding in words.

With l blocks the gradient of the first is a product of l Jacobians; it vanishes or explodes if they shrink or stretch
(Pascanu et al. 2013, arXiv 1211.5063, section 2; clipping: algorithm 1).
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hanlin.base.language import Text
from hanlin.trainer.parallel import norms_over_shards, own_part

PREFIX = "gradient_norm."
"""Beginning of the name of a part's metric: `gradient_norm.blocks.0`."""

_BLOCK = re.compile(r"(?:.*\.)?blocks\.\d+(?=\.)")
_FAR = 100.0
"""First and last block differ by more than this factor: vanishing or exploding."""


def part_of(name: str) -> str:
    """The part of a network that a parameter belongs to: its block, or else its first word (`embed`, `head`)."""
    block = _BLOCK.match(name)
    return block[0] if block else name.split(".", 1)[0]


def gradient_norms(parameters: Sequence[nn.Parameter]) -> tuple[Tensor, Tensor]:
    """Euclidean norm of the whole gradient, a scalar, and of each parameter that has one, in order."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return torch.zeros(()), torch.zeros(0)
    own_N = torch.stack(list(torch._foreach_norm([own_part(gradient) for gradient in gradients])))
    norms_N = norms_over_shards(own_N, gradients[0])
    return torch.linalg.vector_norm(norms_N), norms_N


def clip_gradients(parameters: Sequence[nn.Parameter], clip: float, norm: Tensor) -> None:
    """Scale all gradients, whose whole norm is `norm`, so that it is at most `clip`."""
    gradients = [own_part(parameter.grad) for parameter in parameters if parameter.grad is not None]
    torch._foreach_mul_(gradients, (clip / (norm + 1e-6)).clamp(max=1.0))


def norms_by_part(model: nn.Module, norms_N: Tensor) -> dict[str, float]:
    """The norms of `gradient_norms` joined part by part, under their metric names."""
    names = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    squares: dict[str, float] = {}
    for name, norm in zip(names, norms_N.tolist(), strict=True):
        part = PREFIX + part_of(name)
        squares[part] = squares.get(part, 0.0) + norm**2
    return {part: math.sqrt(square) for part, square in squares.items()}


def gradient_report(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the metrics of a run say of its gradients: the first block's norm over the last one's, and in words.

    The ratio is the geometric mean over all lines that have both. Nothing for a network of fewer than two blocks.
    """
    ratios = []
    for line in lines:
        blocks = [
            value for name, value in line.items() if re.match(rf"{re.escape(PREFIX)}.*blocks\.\d+$", name)
        ]
        if len(blocks) > 1 and all(isinstance(value, float) and 0 < value < math.inf for value in blocks):
            ratios.append(math.log(blocks[0] / blocks[-1]))
    if not ratios:
        return {}
    ratio = math.exp(sum(ratios) / len(ratios))
    return {"gradient_first_to_last_block": ratio, "gradients": str(_words(ratio))}


def _words(ratio: float) -> Text:
    if ratio < 1 / _FAR:
        return Text(
            f"Vanishing: the first block's gradient is {1 / ratio:,.0f} times smaller than the last one's, so it hardly "
            "learns. Use pre-norm, fewer layers or a longer warmup.",
            f"梯度消失：首个块的梯度只有末块的 1/{1 / ratio:,.0f}，几乎学不到东西。请用前置归一化、减少层数或延长 warmup。",
        )
    if ratio > _FAR:
        return Text(
            f"Exploding: the first block's gradient is {ratio:,.0f} times larger than the last one's. "
            "Use pre-norm, a lower learning rate or a smaller clip.",
            f"梯度爆炸：首个块的梯度是末块的 {ratio:,.0f} 倍。请用前置归一化、降低学习率或减小 clip。",
        )
    return Text(
        f"Healthy: the first block's gradient is {ratio:.2g} times the last one's.",
        f"正常：首个块的梯度是末块的 {ratio:.2g} 倍。",
    )

"""How the model sees order: tables that are added to embeddings, and rotations of queries and keys.

Biases on scores (T5, ALiBi) are in bias.py; the learned table is a plain embedding, in embed.py.

B batch, T time, H heads, D head size, R values of a head that turn (R <= D), C width.
"""

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from hanlin.model.config import CoreConfig, RopeScaling

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines, (T, R) or (B, T, R), of one forward pass."""


def angles(times: int, size: int, base: float, device: torch.device | str = "cpu") -> Tensor:
    """t x base^(-2i/size) for t < times and every pair i: (times, ceil(size / 2)), float32.

    Source: arXiv 1706.03762, section 3.5.
    """
    return torch.outer(
        torch.arange(times, dtype=torch.float32, device=device), _frequencies(size, base, device)
    )


def _frequencies(size: int, base: float, device: torch.device | str) -> Tensor:
    exponent = torch.arange(0, size, 2, dtype=torch.float32, device=device) / size
    return 1.0 / base**exponent


class SinusoidalTable(nn.Module):
    """PE(t, 2i) = sin(t / 10000^(2i/C)), PE(t, 2i+1) = cos(same). Source: arXiv 1706.03762, section 3.5.

    `pairs` "halves" puts all sines first. An odd width has one sine more than cosines.
    """

    def __init__(self, times: int, width: int, pairs: str) -> None:
        super().__init__()
        self.pairs = pairs
        self.register_buffer("table_TC", torch.empty(times, width), persistent=False)
        self.fill()

    def fill(self) -> None:
        """Compute the table, in float32; an outline has none."""
        table_TC = cast(Tensor, self.table_TC)
        if table_TC.is_meta:
            return
        T, C = table_TC.shape
        angle = angles(T, C, 10000.0, table_TC.device)
        sine, cosine = angle.sin(), angle.cos()[:, : C // 2]
        if self.pairs == "halves":
            table_TC.copy_(torch.cat((sine, cosine), dim=1))
        else:
            table_TC[:, 0::2] = sine
            table_TC[:, 1::2] = cosine

    def forward(self, positions_BT: Tensor) -> Tensor:
        """Rows of the table: (B, T, C) for positions (B, T), (T, C) for (T,)."""
        return cast(Tensor, self.table_TC)[positions_BT]


class RotaryTable(nn.Module):
    """Cosines and sines of position x frequency, theta_i = base^(-2i/R). Source: arXiv 2104.09864, eq. 15.

    `local`: for sliding layers, by `rope_theta_local` and not stretched. In float32 whatever the model is in.
    """

    def __init__(self, config: CoreConfig, local: bool = False) -> None:
        super().__init__()
        self.size, self.pairs = config.rotary_size, config.position_pairs
        self.base = config.rope_theta_local if local and config.rope_theta_local else config.rope_theta
        self.scaling = None if local else config.rope_scaling

    def forward(self, positions: Tensor | int, device: torch.device | str = "cpu") -> Rotation:
        """The rotation for positions (B, T), on their device, or for 0 .. positions-1 on `device`.

        Computed anew in each pass, for so few values that a kept table would save nothing.
        """
        if isinstance(positions, int):
            positions = torch.arange(positions, device=device)
        frequencies, magnitude = _frequencies(self.size, self.base, positions.device), 1.0
        if self.scaling is not None:
            frequencies, magnitude = scale_frequencies(frequencies, self.base, self.scaling)
        half = positions.float().unsqueeze(-1) * frequencies
        cosine, sine = half.cos(), half.sin()
        if magnitude != 1:
            cosine, sine = cosine * magnitude, sine * magnitude
        return self._doubled(cosine), self._doubled(sine)

    def _doubled(self, half: Tensor) -> Tensor:
        """Of each pair's value, one for each of the two."""
        if self.pairs == "halves":
            return torch.cat((half, half), dim=-1)
        return half.repeat_interleave(2, dim=-1)


def scale_frequencies(frequencies: Tensor, base: float, scaling: RopeScaling) -> tuple[Tensor, float]:
    """Stretched frequencies, and what cosines and sines are multiplied by.

    linear: all by 1 / factor (arXiv 2306.15595). llama3: long wavelengths by 1 / factor, short ones not, in
    between a blend (Llama 3.1 model card). yarn: the blend goes by pair index (arXiv 2309.00071, section 3.2),
    and attention is sharpened (eq. 22).
    """
    stretched = frequencies / scaling.factor
    if scaling.kind == "linear":
        return stretched, 1.0
    original = cast(int, scaling.original_window)
    if scaling.kind == "llama3":
        turns = original * frequencies / (2 * math.pi)
        low, high = scaling.low_freq_factor, scaling.high_freq_factor
        keep = ((turns - low) / (high - low)).clamp(0, 1)
        return stretched * (1 - keep) + frequencies * keep, 1.0
    low, high = _yarn_bounds(2 * len(frequencies), base, original, scaling)
    pair = torch.arange(len(frequencies), dtype=torch.float32, device=frequencies.device)
    keep = 1 - ((pair - low) / max(high - low, 0.001)).clamp(0, 1)
    magnitude = scaling.attention_factor or 0.1 * math.log(scaling.factor) + 1
    return stretched * (1 - keep) + frequencies * keep, magnitude


def _yarn_bounds(size: int, base: float, original: int, scaling: RopeScaling) -> tuple[float, float]:
    """The pairs between which the blend runs: those that turn beta_fast and beta_slow times."""
    bounds = [
        size * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))
        for turns in (scaling.beta_fast, scaling.beta_slow)
    ]
    if scaling.truncate:
        bounds = [math.floor(bounds[0]), math.ceil(bounds[1])]
    return max(bounds[0], 0), min(bounds[1], size - 1)


def rotate(x_BTHD: Tensor, rotation: Rotation, pairs: str = "halves") -> Tensor:
    """Turn each pair of the first R values of every head by its position's angle; same shape and dtype."""
    cosine, sine = (table.unsqueeze(-2).to(x_BTHD.dtype) for table in rotation)
    turned: Tensor = _Rotate.apply(x_BTHD, cosine, sine, pairs)  # type: ignore[no-untyped-call]
    return turned


class _Rotate(torch.autograd.Function):
    """A gradient comes through by the opposite rotation, which autograd would take twice as long to find."""

    @staticmethod
    def forward(ctx: Any, x_BTHD: Tensor, cosine: Tensor, sine: Tensor, pairs: str) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        ctx.pairs = pairs
        R = cosine.shape[-1]
        one, other = (
            (slice(0, R // 2), slice(R // 2, R)) if pairs == "halves" else (slice(0, R, 2), slice(1, R, 2))
        )
        first, second = x_BTHD[..., one], x_BTHD[..., other]
        turned = (
            (first * cosine[..., one]).addcmul_(second, sine[..., one], value=-1),
            (second * cosine[..., other]).addcmul_(first, sine[..., other]),
        )
        if pairs == "halves":
            return torch.cat((*turned, x_BTHD[..., R:]), dim=-1)
        return torch.cat((torch.stack(turned, dim=-1).flatten(-2), x_BTHD[..., R:]), dim=-1)

    @staticmethod
    def backward(ctx: Any, gradient_BTHD: Tensor) -> tuple[Tensor, None, None, None]:
        cosine, sine = ctx.saved_tensors
        return _Rotate.apply(gradient_BTHD, cosine, -sine, ctx.pairs), None, None, None  # type: ignore[no-untyped-call]

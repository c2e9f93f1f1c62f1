"""How the model sees order: tables that are added to embeddings, and rotations of queries and keys.

Biases on scores (T5, ALiBi) are in bias.py; the learned table is a plain embedding, in embed.py.

B batch, T time, H heads, D head size, R values of a head that turn (R <= D), C width.
"""

import math
from typing import cast

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

    `local`: for sliding layers, by `rope_theta_local` and not stretched. The tables are in float32 whatever the
    model is in, and as long as positions have been asked for: windows can be far longer than any text.
    """

    def __init__(self, config: CoreConfig, local: bool = False) -> None:
        super().__init__()
        self.size, self.pairs = config.rotary_size, config.position_pairs
        self.base = config.rope_theta_local if local and config.rope_theta_local else config.rope_theta
        self.scaling = None if local else config.rope_scaling
        self._tables: Rotation | None = None

    def forward(self, positions: Tensor | int, device: torch.device | str = "cpu") -> Rotation:
        """The rotation for positions (B, T), on their device, or for 0 .. positions-1 on `device`."""
        if isinstance(positions, int):
            cosine_TR, sine_TR = self._up_to(positions, torch.device(device))
            return cosine_TR[:positions], sine_TR[:positions]
        cosine_TR, sine_TR = self._up_to(int(positions.max()) + 1, positions.device)
        return cosine_TR[positions], sine_TR[positions]

    def _up_to(self, length: int, device: torch.device) -> Rotation:
        """Tables for at least `length` positions, computed anew, twice as long, when they are too short."""
        tables = self._tables
        if tables is None or len(tables[0]) < length or tables[0].device != device:
            # Tables that inference has made would be of no use to a training pass after it.
            with torch.inference_mode(False):
                tables = self._compute(max(2 * length, 64), device)
            self._tables = tables  # another thread may put a shorter one here: what is returned is this one
        return tables

    def _compute(self, T: int, device: torch.device) -> Rotation:
        frequencies, magnitude = _frequencies(self.size, self.base, device), 1.0
        if self.scaling is not None:
            frequencies, magnitude = scale_frequencies(frequencies, self.base, self.scaling)
        half = torch.outer(torch.arange(T, dtype=torch.float32, device=device), frequencies)
        angle_TR = half.repeat(1, 2) if self.pairs == "halves" else half.repeat_interleave(2, dim=1)
        return angle_TR.cos() * magnitude, angle_TR.sin() * magnitude


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
    R = cosine.shape[-1]
    turning, still = x_BTHD[..., :R], x_BTHD[..., R:]
    if pairs == "halves":
        first, second = turning.chunk(2, dim=-1)
        crossed = torch.cat((-second, first), dim=-1)
    else:
        crossed = torch.stack((-turning[..., 1::2], turning[..., 0::2]), dim=-1).flatten(-2)
    turned = turning * cosine + crossed * sine
    return torch.cat((turned, still), dim=-1) if still.shape[-1] else turned

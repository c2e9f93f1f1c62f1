"""How the model sees order: rotary positions turn queries and keys; a learned table is added in embed.py.

B batch, T time, H heads, D head size.
"""

from typing import cast

import torch
from torch import Tensor, nn

from hanlin.model.config import CoreConfig

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines, (T, D) or (B, T, D), of one forward pass."""


class RotaryTable(nn.Module):
    """Cosines and sines of position x frequency, theta_i = base^(-2i/D). Source: arXiv 2104.09864, eq. 15.

    The two halves of a head are the pairs that turn together (the order of Llama checkpoints).
    """

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        self.base = config.rope_theta
        for name in ("cosine_TD", "sine_TD"):
            self.register_buffer(name, torch.empty(config.window, config.head_size), persistent=False)
        self.fill()

    def fill(self) -> None:
        """Compute the tables, in float32."""
        cosine_TD, sine_TD = cast(Tensor, self.cosine_TD), cast(Tensor, self.sine_TD)
        T, D = cosine_TD.shape
        exponent = torch.arange(0, D, 2, dtype=torch.float32, device=cosine_TD.device) / D
        times = torch.arange(T, dtype=torch.float32, device=cosine_TD.device)
        angle_TD = torch.outer(times, 1.0 / self.base**exponent).repeat(1, 2)
        cosine_TD.copy_(angle_TD.cos())
        sine_TD.copy_(angle_TD.sin())

    def forward(self, positions: Tensor | int) -> Rotation:
        """The rotation for positions (B, T), or for 0 .. positions-1."""
        cosine_TD, sine_TD = cast(Tensor, self.cosine_TD), cast(Tensor, self.sine_TD)
        if isinstance(positions, int):
            return cosine_TD[:positions], sine_TD[:positions]
        return cosine_TD[positions], sine_TD[positions]


def rotate(x_BTHD: Tensor, rotation: Rotation) -> Tensor:
    """Turn each pair (x_i, x_{i+D/2}) of every head by its position's angle; same shape and dtype."""
    cosine, sine = (table.unsqueeze(-2).to(x_BTHD.dtype) for table in rotation)
    first, second = x_BTHD.chunk(2, dim=-1)
    return x_BTHD * cosine + torch.cat((-second, first), dim=-1) * sine

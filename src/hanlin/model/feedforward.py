"""The position-wise feed-forward layer.

B batch, T time, C width, F inner width.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from hanlin.model.config import CoreConfig
from hanlin.model.linear import products


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU by its tanh approximation, as GPT-2 has it. Source: arXiv 1606.08415."""
    return F.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": gelu_tanh,
    "relu": F.relu,
}


class FeedForward(nn.Module):
    """act(x W_up) W_down (arXiv 1706.03762, eq. 2), or gated: (act(x W_gate) * x W_up) W_down (2002.05202)."""

    def __init__(self, config: CoreConfig, inner: int | None = None) -> None:
        super().__init__()
        inner = config.ffn_width if inner is None else inner
        self.activation = ACTIVATIONS[config.activation]
        self.gate = nn.Linear(config.width, inner, bias=config.ffn_bias) if config.gated else None
        self.up = nn.Linear(config.width, inner, bias=config.ffn_bias)
        self.down = nn.Linear(inner, config.width, bias=config.ffn_bias)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Transform each position alone: (B, T, C)."""
        if self.gate is None:
            inner_BTF = self.activation(self.up(x_BTC))
        else:
            gate_BTF, up_BTF = products(x_BTC, self.gate, self.up)
            inner_BTF = self.activation(gate_BTF) * up_BTF
        out: Tensor = self.down(inner_BTF)
        return out

"""What an adapter does to one linear layer y = W x + b.

I inputs, O outputs, R rank; x (..., I), y (..., O).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LowRank(nn.Module):
    """y + s B A x (LoRA, arXiv 2106.09685, eq. 3), s = alpha / R, or alpha / sqrt(R) (rsLoRA, 2312.03732, eq. 4).

    With a magnitude m: the weight is m (W + s B A) / ||W + s B A||, by rows, the norm taken as a constant in the
    backward pass (DoRA, arXiv 2402.09353, eq. 5 and section 4.3). B begins at zero, so that a fresh change is
    none. Parameters are float32, whatever the layer's are.
    """

    def __init__(
        self, layer: nn.Linear, rank: int, alpha: float, *, rslora: bool, dora: bool, dropout: float
    ) -> None:
        super().__init__()
        device = layer.weight.device
        self.alpha, self.scaling = alpha, alpha / (math.sqrt(rank) if rslora else rank)
        self.down_RI = nn.Parameter(torch.empty(rank, layer.in_features, device=device))
        self.up_OR = nn.Parameter(torch.zeros(layer.out_features, rank, device=device))
        nn.init.kaiming_uniform_(self.down_RI, a=math.sqrt(5))
        self.dropout = nn.Dropout(dropout)
        self.magnitude_O = nn.Parameter(self.row_norms(layer.weight)) if dora else None

    @property
    def rank(self) -> int:
        """R."""
        return self.down_RI.shape[0]

    def forward(self, x: Tensor, y: Tensor, layer: nn.Linear) -> Tensor:
        """The layer's output for `x`, where its own is `y`: the same shape and dtype as `y`."""
        inner = F.linear(self.dropout(x).to(self.down_RI.dtype), self.down_RI)
        change = F.linear(inner, self.up_OR) * self.scaling
        if self.magnitude_O is not None:
            gain_O = self.magnitude_O / self.row_norms(layer.weight)
            linear = y if layer.bias is None else y - layer.bias
            # Written as what is added to y, so that a gain of one leaves y as it is, bit for bit.
            change = (gain_O - 1) * linear + gain_O * change
        return y + change.to(y.dtype)

    def merged(self, layer: nn.Linear) -> tuple[Tensor, Tensor | None]:
        """The weight and bias of a plain layer that does the same, in the layer's dtype."""
        weight_OI = self._sum(layer.weight)
        if self.magnitude_O is not None:
            weight_OI = weight_OI * (self.magnitude_O / self.row_norms(layer.weight)).unsqueeze(1)
        return weight_OI.to(layer.weight.dtype), layer.bias

    @torch.no_grad()
    def row_norms(self, weight_OI: Tensor) -> Tensor:
        """||W + s B A|| of each row, (O,), float32."""
        norms_O: Tensor = self._sum(weight_OI).norm(dim=1)
        return norms_O

    def _sum(self, weight_OI: Tensor) -> Tensor:
        return weight_OI.float() + self.scaling * (self.up_OR @ self.down_RI)


class Whole(nn.Module):
    """W' x + b' instead: a trained copy of the whole layer, in float32."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight.detach().float().clone())
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().float().clone())

    def forward(self, x: Tensor, y: Tensor, layer: nn.Linear) -> Tensor:
        """As `LowRank.forward`."""
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias).to(y.dtype)

    def merged(self, layer: nn.Linear) -> tuple[Tensor, Tensor | None]:
        """As `LowRank.merged`."""
        dtype = layer.weight.dtype
        return self.weight.to(dtype), None if self.bias is None else self.bias.to(dtype)


Change = LowRank | Whole
"""What an adapter can do to a linear layer."""

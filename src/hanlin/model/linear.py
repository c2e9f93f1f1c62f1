"""Several linear layers of one input."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def products(x: Tensor, *layers: nn.Linear) -> Sequence[Tensor]:
    """What each layer makes of `x`, (..., I) -> (..., O) each.

    Where gradients are wanted it is one product, and so are its gradients: they are faster by more than it takes to put
    the weights together, which does not hold for the few tokens of a step of generation.
    """
    plain = all(type(layer) is nn.Linear for layer in layers)  # adapters have a forward pass of their own
    alike = len({layer.bias is None for layer in layers}) == 1
    if not (torch.is_grad_enabled() and plain and alike):
        return [layer(x) for layer in layers]
    weight = torch.cat([layer.weight for layer in layers])
    bias = None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])
    return torch.split(F.linear(x, weight, bias), [layer.out_features for layer in layers], dim=-1)

"""How far back a model can learn from: the gradient of a loss with respect to ever older tokens.

In a recurrent network that gradient is a product of one Jacobian for each step between, which shrinks or grows
geometrically (Hochreiter 1991; Bengio et al. 1994; Pascanu et al. 2013, arXiv 1211.5063, section 2): where it has
vanished, nothing further back can be learned, however much text there is.

N rows, T time, C width.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

Floats = NDArray[np.float64]


def gradient_by_distance(model: nn.Module, tokens_NT: Tensor, targets_N: Tensor) -> Floats:
    """Mean over rows of |d loss_T / d e_{T-k}| for k = 0 .. T-1, float64 of shape T.

    loss_T is the NLL in nats of `targets_N`, the token after each row; e the vector that the table `embed.token` gave
    for the token k places before the last of the row. The weights and their gradients are left as they were.
    """
    vectors: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        output.retain_grad()
        vectors.append(output)

    was_training = model.training
    hook = model.get_submodule("embed.token").register_forward_hook(keep)
    try:
        # cuDNN's recurrent kernels have no backward pass in evaluation mode.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            logits_NV = model.eval()(tokens_NT)[:, -1]
            (gradient_NTC,) = torch.autograd.grad(
                F.cross_entropy(logits_NV, targets_N, reduction="sum"), vectors
            )
    finally:
        hook.remove()
        model.train(was_training)
    norm_NT = gradient_NTC.double().norm(dim=-1)
    norm_T: Floats = norm_NT.mean(dim=0).flip(0).cpu().numpy()
    return norm_T


def reach(gradient_T: Floats, share: float = 0.01) -> int:
    """The longest distance at which the gradient still is at least `share` of that at distance 0."""
    return int(np.flatnonzero(gradient_T >= share * gradient_T[0])[-1])

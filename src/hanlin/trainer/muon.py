"""Muon: momentum whose update is made orthogonal by Newton-Schulz iterations.

Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; update scale from
arXiv 2502.16982, section 2.2. torch.optim.Muon runs its iterations in bfloat16, a hundred times slower
than float32 on CPUs without native bfloat16; here the format is chosen by the device, and matrices of one
shape are treated together.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor

from hanlin.trainer.parallel import map_matrices

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrices_NRC: Tensor, iterations: int = 5) -> Tensor:
    """The nearest orthogonal matrix U V^T of each matrix, approximately: singular values near 1.

    Quintic Newton-Schulz: X <- a X + (b A + c A^2) X with A = X X^T, after scaling X to norm at most 1.
    float32 on CPUs, bfloat16 on GPUs that have it; the result has the input's dtype.
    """
    a, b, c = _COEFFICIENTS
    half = matrices_NRC.is_cuda and torch.cuda.is_bf16_supported()
    x = matrices_NRC.to(torch.bfloat16 if half else torch.float32)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices_NRC.dtype)


class Muon(torch.optim.Optimizer):
    """For matrices inside the network; embeddings, heads, norms and biases belong to AdamW.

    v <- momentum v + g;  W <- W - lr (0.2 sqrt(max(R, C)) orthogonalize(g + momentum v) + decay W).
    The factor gives updates the root mean square that AdamW's have, so that one decay fits both.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float,
        weight_decay: float,
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every matrix that has a gradient."""
        assert closure is None, "closures are not used here"
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape[matrix.shape].append(matrix)
            for shape, matrices in by_shape.items():
                self._update(matrices, shape, group["lr"], group["momentum"], group["weight_decay"])
        return None

    def _update(
        self, matrices: list[Tensor], shape: torch.Size, lr: float, momentum: float, weight_decay: float
    ) -> None:
        directions = []
        for matrix in matrices:
            assert matrix.grad is not None
            state = self.state[matrix]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(matrix)
            velocity = state["momentum"].mul_(momentum).add_(matrix.grad)
            directions.append(matrix.grad.add(velocity, alpha=momentum))
        updates = map_matrices(orthogonalize, directions)
        scale = 0.2 * math.sqrt(max(shape))
        for matrix, update in zip(matrices, updates, strict=True):
            matrix.mul_(1 - lr * weight_decay).add_(update, alpha=-lr * scale)

"""Schedule-free AdamW: averaging takes the place of a falling learning rate.

Source: Defazio et al. 2024, arXiv 2405.15682, algorithm 1. Three sequences: z goes the steps of the base optimizer,
x is the average of z weighted by the squared learning rates, and gradients are taken at y between the two:

    y_t = (1 - b1) z_t + b1 x_t
    v_t = b2 v_{t-1} + (1 - b2) g_t^2                     g_t the gradient at y_t
    z_{t+1} = z_t - lr_t (g_t / (sqrt(v_t / (1 - b2^t)) + eps) + decay y_t)
    x_{t+1} = (1 - c) x_t + c z_{t+1}                     c = lr_t^2 / (lr_1^2 + ... + lr_t^2)

The parameters hold y; z and v are state, so that memory is AdamW's. x follows from y and z: it is what is to be
validated and saved. The learning rate is warmed up and then constant.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor


class ScheduleFreeAdamW(torch.optim.Optimizer):
    """See the top of the file. `lr` of each group is lr_t, warm-up included."""

    def __init__(
        self,
        parameters: Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float],
        weight_decay: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        assert betas[0] > 0, "x cannot be told from y and z if y is z"
        super().__init__(parameters, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "eps": eps})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient."""
        assert closure is None, "closures are not used here"
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return None

    def _update(self, y: Tensor, group: dict[str, Any]) -> None:
        assert y.grad is not None
        state, lr, (b1, b2) = self.state[y], group["lr"], group["betas"]
        if not state:
            state["z"] = y.clone(memory_format=torch.preserve_format)
            state["square"] = torch.zeros_like(y)
            # Steps made and the sum of squared learning rates: on the CPU, where reading them waits for nothing,
            # and scalars, so that they have the shape of no parameter.
            state["steps"] = torch.zeros((), dtype=torch.float64)
            state["squared_rates"] = torch.zeros((), dtype=torch.float64)
        state["steps"] += 1
        state["squared_rates"] += lr**2
        steps = float(state["steps"])
        state["square"].mul_(b2).addcmul_(y.grad, y.grad, value=1 - b2)
        corrected = math.sqrt(1 - b2**steps)
        scale = state["square"].sqrt().add_(group["eps"] * corrected)
        update = (y * (lr * group["weight_decay"])).addcdiv_(y.grad, scale, value=lr * corrected)
        c = lr**2 / float(state["squared_rates"])
        # The same as the four equations above, with x eliminated.
        y.lerp_(state["z"], c).sub_(update, alpha=1 - b1 * (1 - c))
        state["z"].sub_(update)

    @torch.no_grad()
    def average(self, parameter: Tensor) -> Tensor:
        """x of a parameter, a new tensor: what is validated and saved. Before the first step the parameter itself."""
        group = next(g for g in self.param_groups if any(p is parameter for p in g["params"]))
        z = self.state[parameter].get("z", parameter)
        return torch.lerp(z, parameter, 1 / group["betas"][0])

"""Model and objective as one module, so that whatever wraps a forward pass (compilation, sharding) sees all of it."""

from typing import Any

from torch import Tensor, nn

from hanlin.objective.term import Objective


class Learner(nn.Module):
    """The summed loss of a batch."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, objective: Objective, batch: Any) -> Tensor:
        """`objective.loss` of the model: a scalar, float32, in nats."""
        return objective.loss(self.model, batch)

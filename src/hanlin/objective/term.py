"""`Objective` and the one reduction rule: sums are added up, and divided once by the global count.

Under this rule alone the gradient does not depend on how a batch is split, packed, padded, or shared out
among processes.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn

Ratio = tuple[float, int]
"""A sum, and over how many it is to be divided."""


class Objective(Protocol):
    """What a training step minimises. An objective says which batches it takes.

    whole_batch: its loss compares the rows of a batch with each other: the trainer does not split it, and the objective
    itself sees to it that memory does not grow with its rows.
    """

    whole_batch: bool = False

    def count(self, batch: Any) -> int:
        """How many predictions of `batch` enter the loss; known before any forward pass."""

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The loss summed over those predictions: a scalar, float32, in nats."""

    def examine(self, model: nn.Module, batch: Any) -> Mapping[str, Ratio]:
        """What validation reports: the loss, and with some objectives how often the model is right."""
        return {"loss": (float(self.loss(model, batch)), self.count(batch))}

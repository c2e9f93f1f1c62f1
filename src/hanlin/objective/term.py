"""`LossTerm` and the one reduction rule: sums are added up, and divided once by the global count.

Under this rule alone the gradient does not depend on how a batch is split, packed or padded.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from hanlin.batches.pack import Batch


@dataclass(frozen=True)
class LossTerm:
    """`sum`: scalar tensor, the loss summed over counted tokens, in nats. `count`: how many there were."""

    sum: Tensor
    count: int


class Objective(Protocol):
    """What a training step minimises."""

    def count(self, batch: Batch) -> int:
        """How many predictions of `batch` enter the loss; known before any forward pass."""

    def loss(self, model: nn.Module, batch: Batch) -> LossTerm:
        """The summed loss of `batch`."""

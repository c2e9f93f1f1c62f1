"""Classification: L = - sum_i log P(class of text i). Source: softmax cross-entropy, Bridle 1990.

B batch, K classes.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from hanlin.batches.batch import IGNORE, Batch
from hanlin.objective.term import Objective


class Classification(Objective):
    """One class for each row of tokens; `targets_BT` of the batch has one column. `IGNORE` does not count."""

    def count(self, batch: Batch) -> int:
        """Number of rows that have a class."""
        return int((batch.targets_BT != IGNORE).sum())

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy of logits (B, K), summed over rows that count, in float32 nats."""
        return F.cross_entropy(
            model(batch.tokens_BT), batch.targets_BT[:, 0], ignore_index=IGNORE, reduction="sum"
        )

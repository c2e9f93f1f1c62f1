"""Relevance of a pair: L = - sum_i [ y_i log p_i + (1 - y_i) log(1 - p_i) ], p_i = sigmoid(f(query i, candidate i)).

Each pair is judged by itself, so that candidates can be put in order by their numbers. Source: arXiv 1901.04085, eq. 1.

B pairs.
"""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from hanlin.batches.labelled import LabelledBatch
from hanlin.objective.judged import judgements
from hanlin.objective.term import Objective, Ratio


class Relevance(Objective):
    """Cross-entropy of the head's number, taken as the log-odds of "this is it". Labels are 1 or 0, as float32."""

    def count(self, batch: LabelledBatch) -> int:
        """Number of pairs."""
        return len(batch.labels)

    def loss(self, model: nn.Module, batch: LabelledBatch) -> Tensor:
        """The loss summed over pairs, float32, in nats."""
        return _loss(judgements(model, batch.inputs, "regress"), batch.labels)

    def examine(self, model: nn.Module, batch: LabelledBatch) -> Mapping[str, Ratio]:
        """The loss, and how often the likelier answer is the right one."""
        odds_B = judgements(model, batch.inputs, "regress")
        right = float(((odds_B > 0) == (batch.labels > 0.5)).sum())
        return {
            "loss": (float(_loss(odds_B, batch.labels)), len(odds_B)),
            "accuracy": (right, len(odds_B)),
        }


def _loss(odds_B: Tensor, labels_B: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(odds_B, labels_B, reduction="sum")

"""Labels of tokens of which any number may hold, as spans that overlap need.

    L = log(1 + sum_{k is not} exp s_k) + log(1 + sum_{k is} exp -s_k)

A label is said where its score is above 0. Other than with a sigmoid for each label, the few that hold are not outweighed
by the many that do not. Source: arXiv 2208.02955 (ZLPR).

B texts, T time, K labels, N tokens that count.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hanlin.batches.batch import IGNORE, Batch
from hanlin.objective.tagging import token_scores
from hanlin.objective.term import Objective, Ratio


class NestedTagging(Objective):
    """Targets (B, T, K): 1 for the labels of a token, else 0; tokens with `IGNORE` do not count."""

    def count(self, batch: Batch) -> int:
        """Number of tokens that count."""
        return int((batch.targets_BT[..., 0] != IGNORE).sum())

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Summed over tokens that count, float32."""
        return _loss(token_scores(model, batch), batch.targets_BT)

    def examine(self, model: nn.Module, batch: Batch) -> Mapping[str, Ratio]:
        """The loss, and F1 of all labels of all tokens together."""
        scores_BTK, targets_BTK = token_scores(model, batch), batch.targets_BT
        counted_BT = targets_BTK[..., 0] != IGNORE
        truth_NK, said_NK = targets_BTK[counted_BT], (scores_BTK[counted_BT] > 0).long()
        return {
            "loss": (float(_loss(scores_BTK, targets_BTK)), self.count(batch)),
            "f1": (2 * int((truth_NK * said_NK).sum()), int(truth_NK.sum() + said_NK.sum())),
        }


def _loss(scores_BTK: Tensor, targets_BTK: Tensor) -> Tensor:
    counted_BT = targets_BTK[..., 0] != IGNORE
    scores_NK, holds_NK = scores_BTK[counted_BT].float(), targets_BTK[counted_BT] == 1
    others_NK = scores_NK.masked_fill(holds_NK, -torch.inf)
    held_NK = (-scores_NK).masked_fill(~holds_NK, -torch.inf)
    one = F.pad(others_NK, (0, 1)).logsumexp(1) + F.pad(held_NK, (0, 1)).logsumexp(
        1
    )  # exp 0 is the 1 in each sum
    return one.sum()

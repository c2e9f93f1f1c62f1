"""Causal language modelling: L = - sum_t log P(x_t | x_<t). Source: Bengio et al. 2003, eq. 3 (JMLR 3).

Rows with a prefix (batches/prefix.py, batches/spans.py) make it prefix language modelling and span denoising for a
decoder: the prefix is read in both directions, and targets within it do not count.

B batch, T time, C width, V vocabulary.
"""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from hanlin.batches.batch import IGNORE, Batch
from hanlin.model.stack import Stack
from hanlin.objective.term import Objective, Ratio
from hanlin.objective.token_prediction import TokenPrediction


class Causal(TokenPrediction):
    """Predict each next token; every target but `IGNORE` counts once."""

    def states(self, model: Any, batch: Batch) -> Tensor:
        """The state after each token: (B, T, C)."""
        hidden_BTC: Tensor = model.hidden(
            batch.tokens_BT, batch.positions_BT, batch.documents_BT, prefix_B=batch.prefix_B
        )
        return hidden_BTC

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """As for every objective over the vocabulary; of the classical networks, from all logits at once."""
        if isinstance(model, Stack):
            return super().loss(model, batch)
        logits_BTV = model(batch.tokens_BT, batch.positions_BT, batch.documents_BT)
        return F.cross_entropy(
            logits_BTV.flatten(0, 1),
            batch.targets_BT.flatten(),
            ignore_index=IGNORE,
            reduction="sum",
            label_smoothing=self.label_smoothing if model.training else 0.0,
        )

    def examine(self, model: nn.Module, batch: Batch) -> Mapping[str, Ratio]:
        """The loss, which says all of a language model; with a prefix also how often the likeliest token is right."""
        return (
            Objective.examine(self, model, batch) if batch.prefix_B is None else super().examine(model, batch)
        )

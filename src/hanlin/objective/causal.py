"""Causal language modelling: L = - sum_t log P(x_t | x_<t). Source: Bengio et al. 2003, eq. 3 (JMLR 3).

B batch, T time, N = B x T, V vocabulary.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from hanlin.batches.batch import IGNORE, Batch
from hanlin.model.stack import Stack
from hanlin.objective.term import Objective


class Causal(Objective):
    """Predict each next token; every target but `IGNORE` counts once.

    While training with label smoothing s, a target's probability is 1 - s and the vocabulary shares s (arXiv 1512.00567,
    sec. 7). A mixture of experts then adds `config.router_loss` x its balance for each target (arXiv 2101.03961, eq. 4):
    it is the balance within a micro-batch, so that here alone gradients depend on how a batch is split.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def count(self, batch: Batch) -> int:
        """Number of targets that count."""
        return int((batch.targets_BT != IGNORE).sum())

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy, and a mixture's balance while training, summed over counted targets, in float32 nats."""
        logits_BTV = model(batch.tokens_BT, batch.positions_BT, batch.documents_BT)
        total = F.cross_entropy(
            logits_BTV.flatten(0, 1),
            batch.targets_BT.flatten(),
            ignore_index=IGNORE,
            reduction="sum",
            label_smoothing=self.label_smoothing if model.training else 0.0,
        )
        if isinstance(model, Stack) and (balance := model.balance_loss()) is not None:
            total = total + (batch.targets_BT != IGNORE).sum() * model.config.router_loss * balance
        return total

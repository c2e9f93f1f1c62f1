"""Causal language modelling: L = - sum_t log P(x_t | x_<t). Source: Bengio et al. 2003, eq. 3 (JMLR 3).

B batch, T time, N = B x T, V vocabulary.
"""

import torch.nn.functional as F

from hanlin.batches.pack import Batch
from hanlin.model.decoder import Decoder
from hanlin.objective.term import LossTerm

IGNORE = -100
"""Targets with this value do not enter the loss."""


class Causal:
    """Predict each next token; every target but `IGNORE` counts once.

    While training with label smoothing s, a target's probability is 1 - s and the vocabulary shares s (arXiv 1512.00567, sec. 7).
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def count(self, batch: Batch) -> int:
        """Number of targets that count."""
        return int((batch.targets_BT != IGNORE).sum())

    def loss(self, model: Decoder, batch: Batch) -> LossTerm:
        """Cross-entropy summed over counted targets, in float32 nats."""
        logits_BTV = model(batch.tokens_BT, batch.positions_BT, batch.documents_BT)
        total = F.cross_entropy(
            logits_BTV.flatten(0, 1),
            batch.targets_BT.flatten(),
            ignore_index=IGNORE,
            reduction="sum",
            label_smoothing=self.label_smoothing if model.training else 0.0,
        )
        return LossTerm(total, self.count(batch))

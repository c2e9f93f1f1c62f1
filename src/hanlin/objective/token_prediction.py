"""What all objectives over the vocabulary have in common: states, and the token that each is to predict.

B batch, T predictions of a row, C width, N counted predictions.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hanlin.batches.batch import IGNORE
from hanlin.model.seq2seq import Seq2Seq
from hanlin.model.stack import Stack
from hanlin.objective.cross_entropy import chunk_rows, token_loss
from hanlin.objective.term import Objective, Ratio


class TokenPrediction(Objective):
    """- sum_t log P(target_t | state_t) over the targets that are not `IGNORE`; each counts once.

    While training with label smoothing s, a target's probability is 1 - s and the vocabulary shares s (arXiv 1512.00567,
    sec. 7). A mixture of experts then adds `config.router_loss` x its balance for each target (arXiv 2101.03961, eq. 4):
    it is the balance within a micro-batch, so that here alone gradients depend on how a batch is split.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    @abstractmethod
    def states(self, model: Any, batch: Any) -> Tensor:
        """The last hidden states from which targets are predicted: (B, T, C)."""

    def targets(self, batch: Any) -> Tensor:
        """The tokens to be predicted, (B, T), int64, or `IGNORE`."""
        targets_BT: Tensor = batch.targets_BT
        return targets_BT

    def count(self, batch: Any) -> int:
        """Number of targets that count."""
        return int((self.targets(batch) != IGNORE).sum())

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Cross-entropy, and a mixture's balance while training, summed over counted targets, in float32 nats."""
        return self.summed(model, self.states(model, batch), self.targets(batch))

    def examine(self, model: nn.Module, batch: Any) -> Mapping[str, Ratio]:
        """The loss, and how often the likeliest token is the right one."""
        states_BTC, targets_BT = self.states(model, batch), self.targets(batch)
        count = self.count(batch)
        return {
            "loss": (float(self.summed(model, states_BTC, targets_BT)), count),
            "accuracy": (hits(model, states_BTC, targets_BT), count),
        }

    def summed(self, model: Any, states_BTC: Tensor, targets_BT: Tensor) -> Tensor:
        """The loss from states."""
        smoothing = self.label_smoothing if model.training else 0.0
        total: Tensor = token_loss(model, states_BTC, targets_BT, smoothing)
        for stack in _stacks(model):
            if (balance := stack.balance_loss()) is not None:
                total = total + (targets_BT != IGNORE).sum() * stack.config.router_loss * balance
        return total


def hits(model: Any, states_BTC: Tensor, targets_BT: Tensor) -> int:
    """How many counted targets are the likeliest tokens; logits stand in memory in chunks only."""
    places = (targets_BT.flatten() != IGNORE).nonzero().squeeze(1)
    rows = chunk_rows(len(places), model.config.vocab_size, targets_BT.device)
    right = torch.zeros((), dtype=torch.int64, device=targets_BT.device)
    for some in torch.split(places, rows):
        said_n = model.logits(states_BTC.flatten(0, -2)[some]).argmax(-1)
        right += (said_n == targets_BT.flatten()[some]).sum()
    return int(right)


def _stacks(model: nn.Module) -> list[Stack]:
    if isinstance(model, Seq2Seq):
        return [model.encoder, model.decoder]
    return [model] if isinstance(model, Stack) else []

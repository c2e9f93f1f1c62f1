"""Multiple choice: L = - sum_i log q(right_i | question i), q = softmax over the choices of log P(choice | question).

B records, K choices, M tokens of a choice.
"""

import torch
from torch import Tensor, nn

from hanlin.batches.batch import IGNORE
from hanlin.batches.prompted import PromptedBatch
from hanlin.model.cache import KeyValueCache
from hanlin.objective.prompt import PromptChoice


class MultipleChoice(PromptChoice):
    """As `PromptChoice`, over choices that each record has for itself, and not equally many of them."""

    def scores(self, model: nn.Module, batch: PromptedBatch, before: KeyValueCache | None = None) -> Tensor:
        """log P(choice k | record b), in nats, or per token if `normalized`: (B, K), float32; -inf where there is none."""
        is_there_BK = (batch.words_BKM != IGNORE).any(2)
        return super().scores(model, batch, before).masked_fill(~is_there_BK, -torch.inf)

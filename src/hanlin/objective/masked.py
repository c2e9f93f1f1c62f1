"""Masked language modelling: L = - sum over the chosen places i of log P(x_i | x with all chosen places hidden).

Source: arXiv 1810.04805 (BERT), section 3.1, task 1. Which places are chosen, and how they are hidden, is in
batches/masking.py; only chosen places go through the output over the vocabulary.

B batch, T time, C width.
"""

from typing import Any

from torch import Tensor

from hanlin.batches.batch import Batch
from hanlin.objective.token_prediction import TokenPrediction


class Masked(TokenPrediction):
    """Say which token stood at each chosen place, from all of the row."""

    def states(self, model: Any, batch: Batch) -> Tensor:
        """The encoder's last hidden states: (B, T, C)."""
        hidden_BTC: Tensor = model.hidden(
            batch.tokens_BT, batch.positions_BT, batch.documents_BT, segments_BT=batch.segments_BT
        )
        return hidden_BTC

"""Texts written of sources: L = - sum_t log P(y_t | y_<t, x), by whichever model the rows are made for.

B batch, T time, C width.
"""

from typing import Any

from torch import Tensor

from hanlin.batches.batch import Batch
from hanlin.batches.written import WrittenBatch
from hanlin.objective.causal import Causal
from hanlin.objective.token_prediction import TokenPrediction


class WritingLoss(TokenPrediction):
    """Each token of the target from the source and the target before it; every target but `IGNORE` counts once.

    Of an encoder-decoder (arXiv 1409.3215, eq. 1) from `WrittenBatch`, of a decoder from `Batch` with `IGNORE` where the
    source stands.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__(label_smoothing)
        self._causal = Causal()

    def states(self, model: Any, batch: WrittenBatch | Batch) -> Tensor:
        """The last hidden states of the stack that writes: (B, T, C)."""
        if isinstance(batch, Batch):
            return self._causal.states(model, batch)
        memory = model.encode(batch.source_BS, batch.source_documents_BS)
        # What follows the end of a target is padding: no counted place sees it.
        hidden_BTC: Tensor = model.hidden(batch.read_BT, memory)
        return hidden_BTC

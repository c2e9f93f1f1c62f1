"""From one text to another: L = - sum_t log P(y_t | y_<t, x), with the true y_<t read by the decoder.

Source: arXiv 1409.3215 (Sutskever et al. 2014), eq. 1; teacher forcing Williams & Zipser 1989; label smoothing for it
arXiv 1706.03762, section 5.4. With rows of spans (batches/spans.py) it is T5's denoising, arXiv 1910.10683, section 3.1.4.

B batch, S source time, T target time, C width.
"""

from typing import Any

from torch import Tensor

from hanlin.batches.batch import IGNORE
from hanlin.batches.source_target import SourceTarget
from hanlin.model.seq2seq import shift_right
from hanlin.objective.token_prediction import TokenPrediction


class SequenceToSequence(TokenPrediction):
    """Predict each token of the target from the source and the target before it; every target but `IGNORE` counts once.

    start_id: what the decoder reads first.
    """

    def __init__(self, start_id: int, label_smoothing: float = 0.0) -> None:
        super().__init__(label_smoothing)
        self.start_id = start_id

    def states(self, model: Any, batch: SourceTarget) -> Tensor:
        """The decoder's last hidden states: (B, T, C)."""
        memory = model.encode(batch.source_BS, batch.source_documents_BS)
        read_BT = shift_right(batch.targets_BT, self.start_id)
        # What follows the end of a target is padding: no counted place sees it.
        hidden_BTC: Tensor = model.hidden(read_BT.masked_fill(read_BT == IGNORE, self.start_id), memory)
        return hidden_BTC

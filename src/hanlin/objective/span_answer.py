"""Where an answer begins and ends: L = - [log P(begin | text) + log P(end | text)] / 2.

P: the softmax of the head's two scores over the places of a text where an answer can be. Source: arXiv 1810.04805,
section 4.2.

B texts, T time, L places of the text that has the most, N places of all texts.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from hanlin.batches.answer_spans import BEGINS, ENDS
from hanlin.batches.batch import IGNORE, Batch
from hanlin.objective.tagging import by_text, text_numbers, token_scores
from hanlin.objective.term import Objective, Ratio


class SpanAnswer(Objective):
    """Targets of `AnswerRows`; every text counts once."""

    def count(self, batch: Batch) -> int:
        """Number of texts."""
        return int((batch.targets_BT.clamp(min=0) & BEGINS).sum())

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Summed over texts, float32, in nats."""
        scores_BL2, truth_BL2 = _by_text(model, batch)
        return _loss(scores_BL2, truth_BL2)

    def examine(self, model: nn.Module, batch: Batch) -> Mapping[str, Ratio]:
        """The loss, and the share of texts of which both ends are right."""
        scores_BL2, truth_BL2 = _by_text(model, batch)
        right_B = (scores_BL2.argmax(1) == truth_BL2.long().argmax(1)).all(1)
        return {
            "loss": (float(_loss(scores_BL2, truth_BL2)), len(right_B)),
            "accuracy": (float(right_B.sum()), len(right_B)),
        }


def _by_text(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """The scores of the places of each text, -inf where it has no more, and which are the right ones: (B, L, 2) each."""
    open_BT = batch.targets_BT != IGNORE
    texts_N, targets_N = text_numbers(batch)[open_BT], batch.targets_BT[open_BT]
    scores_N2 = token_scores(model, batch, "span")[open_BT]
    truth_N2 = torch.stack([targets_N & BEGINS, targets_N & ENDS], 1) > 0
    return (
        pad_sequence(by_text(scores_N2, texts_N), batch_first=True, padding_value=-torch.inf),
        pad_sequence(by_text(truth_N2, texts_N), batch_first=True),
    )


def _loss(scores_BL2: Tensor, truth_BL2: Tensor) -> Tensor:
    return -scores_BL2.log_softmax(1)[truth_BL2].sum() / 2

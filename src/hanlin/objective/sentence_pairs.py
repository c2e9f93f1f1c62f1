"""BERT's two objectives in one batch: hidden tokens, and whether the second stretch of text is in its place.

    L = (1 / N) sum_b [ sum_{i in b} - log P(x_i | hidden) + n_b (- log P(answer_b | pair b)) ]

n_b hidden tokens in pair b, N = sum_b n_b: the mean over hidden tokens, plus the mean over pairs, each pair weighing as
many as the tokens hidden in it. BERT adds the two plain means (arXiv 1810.04805, appendix A.2), which with rows of like
length is the same; these weights alone make the sum independent of how a batch is split or shared out. The question is
next-sentence prediction or, as of arXiv 1909.11942, section 3.1, sentence order: batches/sentence_pairs.py.

B batch, T time, C width.
"""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from hanlin.batches.batch import IGNORE
from hanlin.batches.sentence_pairs import PairBatch
from hanlin.objective.term import Ratio
from hanlin.objective.token_prediction import TokenPrediction, hits


class SentencePairs(TokenPrediction):
    """Masked language modelling and the judgement of pairs; what counts are the hidden tokens."""

    def states(self, model: Any, batch: PairBatch) -> Tensor:
        """The encoder's last hidden states: (B, T, C)."""
        hidden_BTC: Tensor = model.hidden(
            batch.tokens_BT, documents_BT=batch.documents_BT, segments_BT=batch.segments_BT
        )
        return hidden_BTC

    def loss(self, model: nn.Module, batch: PairBatch) -> Tensor:
        """Both parts, summed over hidden tokens, in float32 nats."""
        states_BTC = self.states(model, batch)
        tokens = self.summed(model, states_BTC, batch.targets_BT)
        return tokens + self._judged(self._answers(model, states_BTC, batch), batch)

    def examine(self, model: nn.Module, batch: PairBatch) -> Mapping[str, Ratio]:
        """The loss, and loss and accuracy of each part by itself."""
        states_BTC = self.states(model, batch)
        tokens = float(self.summed(model, states_BTC, batch.targets_BT))
        scores_B2 = self._answers(model, states_BTC, batch)
        answers_B, count = batch.answers_B, self.count(batch)
        judged, right = (
            F.cross_entropy(scores_B2, answers_B, reduction="sum"),
            scores_B2.argmax(1) == answers_B,
        )
        return {
            "loss": (tokens + float(self._judged(scores_B2, batch)), count),
            "token_loss": (tokens, count),
            "token_accuracy": (hits(model, states_BTC, batch.targets_BT), count),
            "pair_loss": (float(judged), batch.rows),
            "pair_accuracy": (int(right.sum()), batch.rows),
        }

    def _answers(self, model: Any, states_BTC: Tensor, batch: PairBatch) -> Tensor:
        scores_B2: Tensor = model.next_sentence_logits(states_BTC, batch.documents_BT)
        return scores_B2

    def _judged(self, scores_B2: Tensor, batch: PairBatch) -> Tensor:
        hidden_B = (batch.targets_BT != IGNORE).sum(1)
        return (hidden_B * F.cross_entropy(scores_B2, batch.answers_B, reduction="none")).sum()

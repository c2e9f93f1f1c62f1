"""Permutation language modelling: L = - E_z sum_{t > c} log P(x_z(t) | x_z(<t)), z an order of the tokens.

Source: arXiv 1906.08237 (XLNet), eq. 3 for whole orders, and eq. 5 for their last tokens, which are enough. The tokens
keep their places: only what each sees is permuted. Two streams through the same weights (model/two_stream.py) make a
prediction know its place, but not its token.

B batch, P predicted tokens of a row, C width.
"""

from typing import Any

from torch import Tensor

from hanlin.batches.permuted import PermutedBatch
from hanlin.model.two_stream import query_stream
from hanlin.objective.token_prediction import TokenPrediction


class Permutation(TokenPrediction):
    """Predict the last tokens of each order from those before them. query_id: where the query stream begins."""

    def __init__(self, query_id: int, label_smoothing: float = 0.0) -> None:
        super().__init__(label_smoothing)
        self.query_id = query_id

    def states(self, model: Any, batch: PermutedBatch) -> Tensor:
        """The query stream of the predicted tokens: (B, P, C)."""
        return query_stream(
            model,
            batch.tokens_BT,
            batch.ranks_BT,
            batch.places_BP,
            self.query_id,
            batch.positions_BT,
            batch.documents_BT,
        )

    def targets(self, batch: PermutedBatch) -> Tensor:
        """The predicted tokens: (B, P)."""
        return batch.targets_BP

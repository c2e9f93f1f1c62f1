"""Regression: L = sum_i (y_i - f(text i))^2, one number for each text, as likeness, score or value.

Not a loss for language models: for heads that give a number. Source: Legendre 1805, appendix (least squares).

B texts.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from hanlin.batches.labelled import LabelledBatch
from hanlin.objective.judged import judgements
from hanlin.objective.term import Objective, Ratio


class Regression(Objective):
    """The squared error of the head's number. Targets far from mean 0 and deviation 1 are best scaled beforehand."""

    def count(self, batch: LabelledBatch) -> int:
        """Number of texts."""
        return len(batch.labels)

    def loss(self, model: nn.Module, batch: LabelledBatch) -> Tensor:
        """Squared errors, summed, float32."""
        return (judgements(model, batch.inputs, "regress") - batch.labels).square().sum()

    def examine(self, model: nn.Module, batch: LabelledBatch) -> Mapping[str, Ratio]:
        """The loss, which is the mean squared error, and the mean absolute error."""
        error_B = judgements(model, batch.inputs, "regress") - batch.labels
        count = len(error_B)
        return {
            "loss": (float(error_B.square().sum()), count),
            "absolute_error": (float(error_B.abs().sum()), count),
        }

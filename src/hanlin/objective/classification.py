"""Classes of whole texts, and of pairs of texts: one of several, or any number of them.

B texts, K classes.
"""

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from hanlin.batches.batch import IGNORE
from hanlin.batches.labelled import LabelledBatch
from hanlin.objective.judged import judgements
from hanlin.objective.term import Objective, Ratio


class Classification(Objective):
    """L = - sum_i w_{y_i} log P(y_i | text i), P the softmax of the head's scores. Source: Bridle 1990.

    Every text with a class counts once, whatever its weight: with weights of mean 1 over the texts
    (`balanced_weights`) the loss keeps its scale. While training with label smoothing s, a class's probability is 1 - s
    and all classes share s (arXiv 1512.00567, section 7).
    """

    def __init__(self, weights: Sequence[float] | None = None, label_smoothing: float = 0.0) -> None:
        self.weights, self.label_smoothing = weights, label_smoothing

    def count(self, batch: LabelledBatch) -> int:
        """Number of texts that have a class."""
        return int((batch.labels != IGNORE).sum())

    def loss(self, model: nn.Module, batch: LabelledBatch) -> Tensor:
        """Weighted cross-entropy, summed over texts that count, in float32 nats."""
        return self._loss(judgements(model, batch.inputs, "classify"), batch.labels, model.training)

    def examine(self, model: nn.Module, batch: LabelledBatch) -> Mapping[str, Ratio]:
        """The loss, the accuracy, and F1 of each class (van Rijsbergen 1979), whose mean is macro-F1."""
        scores_BK = judgements(model, batch.inputs, "classify")
        known_B = batch.labels != IGNORE
        truth_B, said_B = batch.labels[known_B], scores_BK[known_B].argmax(1)
        K = scores_BK.shape[1]
        return {
            "loss": (float(self._loss(scores_BK, batch.labels, model.training)), len(truth_B)),
            "accuracy": (float((truth_B == said_B).sum()), len(truth_B)),
            **f1_by_class(F.one_hot(truth_B, K), F.one_hot(said_B, K), model),
        }

    def _loss(self, scores_BK: Tensor, labels_B: Tensor, training: bool) -> Tensor:
        return F.cross_entropy(
            scores_BK,
            labels_B,
            weight=None if self.weights is None else scores_BK.new_tensor(self.weights),
            ignore_index=IGNORE,
            reduction="sum",
            label_smoothing=self.label_smoothing if training else 0.0,
        )


class MultiLabel(Objective):
    """L = - sum_ik [w_k y_ik log p_ik + (1 - y_ik) log(1 - p_ik)], p the sigmoid of the head's scores.

    Each label is judged alone, and every judgement counts once: B x K of them. w_k: how much having label k weighs
    against not having it. Source: Nam et al. 2014 (arXiv 1312.5419).
    """

    def __init__(self, weights: Sequence[float] | None = None) -> None:
        self.weights = weights

    def count(self, batch: LabelledBatch) -> int:
        """Number of judgements."""
        return batch.labels.numel()

    def loss(self, model: nn.Module, batch: LabelledBatch) -> Tensor:
        """Binary cross-entropy, summed over all texts and labels, in float32 nats."""
        return self._loss(judgements(model, batch.inputs, "classify"), batch.labels)

    def examine(self, model: nn.Module, batch: LabelledBatch) -> Mapping[str, Ratio]:
        """The loss, the share of right judgements, F1 of all together (micro), and F1 of each label."""
        scores_BK = judgements(model, batch.inputs, "classify")
        truth_BK, said_BK = batch.labels, (scores_BK > 0).long()
        return {
            "loss": (float(self._loss(scores_BK, truth_BK)), truth_BK.numel()),
            "accuracy": (float((truth_BK == said_BK).sum()), truth_BK.numel()),
            "f1": (2 * int((truth_BK * said_BK).sum()), int(truth_BK.sum() + said_BK.sum())),
            **f1_by_class(truth_BK, said_BK, model),
        }

    def _loss(self, scores_BK: Tensor, labels_BK: Tensor) -> Tensor:
        weight_K = None if self.weights is None else scores_BK.new_tensor(self.weights)
        return F.binary_cross_entropy_with_logits(
            scores_BK, labels_BK.to(scores_BK.dtype), reduction="sum", pos_weight=weight_K
        )


def f1_by_class(truth_BK: Tensor, said_BK: Tensor, model: nn.Module) -> dict[str, Ratio]:
    """F1 = 2 TP / (2 TP + FP + FN) of each class, as sums that add up over batches. True and said ones are 1, else 0."""
    right_K = 2 * (truth_BK * said_BK).sum(0)
    all_K = truth_BK.sum(0) + said_BK.sum(0)
    names = getattr(getattr(model, "config", None), "label_names", ()) or range(truth_BK.shape[1])
    pairs = zip(names, right_K.tolist(), all_K.tolist(), strict=True)
    return {f"f1.{name}": (right, both) for name, right, both in pairs}

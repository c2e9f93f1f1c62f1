"""Tagging: L = - sum_t log P(tag_t | text) over the tokens that have a tag.

Each token is judged alone: no transition is forbidden. Source: arXiv 1810.04805, section 5.3.

B texts, T time, K tags, N tokens with a tag.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hanlin.batches.batch import IGNORE, Batch
from hanlin.batches.bio import is_bio, spans
from hanlin.objective.judged import headed
from hanlin.objective.term import Objective, Ratio


class Tagging(Objective):
    """One label for each token; `IGNORE` does not count."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def count(self, batch: Batch) -> int:
        """Number of tokens that have a label."""
        return int((batch.targets_BT != IGNORE).sum())

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy, summed over labelled tokens, in float32 nats."""
        return self._loss(token_scores(model, batch), batch.targets_BT, model.training)

    def examine(self, model: nn.Module, batch: Batch) -> Mapping[str, Ratio]:
        """The loss, the share of right labels, and F1: of BIO tags that of whole spans, as CoNLL counts them, else the same."""
        scores_BTK, targets_BT = token_scores(model, batch), batch.targets_BT
        counted_BT = targets_BT != IGNORE
        truth_N, said_N = targets_BT[counted_BT], scores_BTK.argmax(-1)[counted_BT]
        values: dict[str, Ratio] = {
            "loss": (float(self._loss(scores_BTK, targets_BT, model.training)), len(truth_N)),
            "accuracy": (float((truth_N == said_N).sum()), len(truth_N)),
        }
        names = headed(model, "tag").config.label_names
        values["f1"] = (
            span_f1(truth_N, said_N, text_numbers(batch)[counted_BT], names)
            if is_bio(names)
            else values["accuracy"]
        )
        return values

    def _loss(self, scores_BTK: Tensor, targets_BT: Tensor, training: bool) -> Tensor:
        return F.cross_entropy(
            scores_BTK.flatten(0, 1),
            targets_BT.flatten(),
            ignore_index=IGNORE,
            reduction="sum",
            label_smoothing=self.label_smoothing if training else 0.0,
        )


def token_scores(model: nn.Module, batch: Batch, head: str = "tag") -> Tensor:
    """What the head tag (B, T, K) or span (B, T, 2) says of each token, float32."""
    scores_BTK: Tensor = headed(model, head)(
        batch.tokens_BT, batch.positions_BT, batch.documents_BT, segments_BT=batch.segments_BT
    )
    return scores_BTK


def text_numbers(batch: Batch) -> Tensor:
    """A number for each text of the batch, at each of its tokens, in order: (B, T)."""
    rows_B1 = torch.arange(len(batch.tokens_BT), device=batch.tokens_BT.device).unsqueeze(1)
    if batch.documents_BT is None:
        return rows_B1.expand_as(batch.tokens_BT)
    return rows_B1 * batch.tokens_BT.shape[1] + batch.documents_BT


def by_text(values_N: Tensor, texts_N: Tensor) -> list[Tensor]:
    """The values of the tokens of each text, as `text_numbers` tells them apart."""
    _, sizes = torch.unique_consecutive(texts_N, return_counts=True)
    return list(torch.split(values_N, sizes.tolist()))


def span_f1(truth_N: Tensor, said_N: Tensor, texts_N: Tensor, names: tuple[str, ...]) -> Ratio:
    """2 TP / (2 TP + FP + FN) as a ratio that adds up over batches; a span is right if its kind and both ends are."""
    borders = (texts_N.diff().nonzero().squeeze(1) + 1).tolist()
    right = both = 0
    parts = zip(truth_N.cpu().tensor_split(borders), said_N.cpu().tensor_split(borders), strict=True)
    for truth, said in parts:
        true_spans, said_spans = (
            set(spans([names[label] for label in labels.tolist()])) for labels in (truth, said)
        )
        right += 2 * len(true_spans & said_spans)
        both += len(true_spans) + len(said_spans)
    return right, both

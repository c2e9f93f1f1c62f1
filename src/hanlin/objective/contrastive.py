"""Contrastive learning, InfoNCE: L = - sum_i log [ exp(s_ii / tau) / sum_j exp(s_ij / tau) ], s_ij the cosine.

Row i is to find its partner among the partners of all rows of the batch, and its hard negatives. Where nothing is known
yet, each is as likely as any other, and the loss of a row is log of their number. Source: arXiv 1807.03748, eq. 4;
cosine and temperature as in arXiv 2104.08821, eqs. 1 and 5; both directions as in arXiv 2103.00020, figure 3.

B rows, C width, J candidates.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.batches.ragged import Inputs
from hanlin.batches.views import Views
from hanlin.model.headed import Headed
from hanlin.objective.judged import vectors
from hanlin.objective.term import Objective, Ratio


class Contrastive(Objective):
    """Negatives are the other rows of the batch, so the loss depends on how many those are; the trainer runs it in one process.

    temperature: tau. symmetric: half of each direction, so that partners find rows too. micro_rows: so many texts go
    through the model at a time; what it held of them is computed anew in the backward pass, with the same dropout, so that
    memory does not grow with the batch and loss and gradient are those of the whole (GradCache, arXiv 2101.06983).
    Raises `ConfigError` in training where both views of every text are the same and no dropout makes them differ.
    """

    whole_batch = True

    def __init__(
        self, temperature: float = 0.05, symmetric: bool = False, micro_rows: int | None = None
    ) -> None:
        assert temperature > 0
        self.temperature, self.symmetric, self.micro_rows = temperature, symmetric, micro_rows

    def count(self, batch: Views) -> int:
        """Number of rows."""
        return batch.rows

    def loss(self, model: nn.Module, batch: Views) -> Tensor:
        """The loss summed over rows, in float32 nats."""
        return self._loss(self._scores(model, batch))

    def examine(self, model: nn.Module, batch: Views) -> Mapping[str, Ratio]:
        """The loss, and how often the partner is the nearest of all candidates."""
        scores_BJ = self._scores(model, batch)
        places_B = torch.arange(len(scores_BJ), device=scores_BJ.device)
        right = float((scores_BJ.argmax(1) == places_B).sum())
        return {"loss": (float(self._loss(scores_BJ)), batch.rows), "accuracy": (right, batch.rows)}

    def _loss(self, scores_BJ: Tensor) -> Tensor:
        B = len(scores_BJ)
        partners_B = torch.arange(B, device=scores_BJ.device)
        forth = F.cross_entropy(scores_BJ, partners_B, reduction="sum")
        if not self.symmetric:
            return forth
        return (forth + F.cross_entropy(scores_BJ[:, :B].T, partners_B, reduction="sum")) / 2

    def _scores(self, model: nn.Module, batch: Views) -> Tensor:
        """Cosines over temperature, of every row and every candidate: (B, J); minus infinity for copies of a partner."""
        assert isinstance(model, Headed)
        _require_two_views(model, batch)
        views = [view for view in (batch.first, batch.second, batch.negative) if view is not None]
        first_BC, *others = (F.normalize(self._vectors(model, view).float(), dim=1) for view in views)
        with torch.autocast(first_BC.device.type, enabled=False):  # the temperature makes small errors large
            scores_BJ = first_BC @ torch.cat(others).T / self.temperature
        return scores_BJ.masked_fill(copies(batch.texts_B3)[:, : scores_BJ.shape[1]], -torch.inf)

    def _vectors(self, model: Headed, inputs: Inputs) -> Tensor:
        if self.micro_rows is None or not torch.is_grad_enabled():
            return vectors(model, inputs)
        pieces = inputs.split(self.micro_rows)
        parts: list[Tensor] = [checkpoint(vectors, model, piece, use_reentrant=False) for piece in pieces]
        return torch.cat(parts)


def copies(texts_B3: Tensor) -> Tensor:
    """Candidates that are no negatives of a row, being equal to it or its partner, or partners of the same: (B, 2 B).

    The columns are the partners of all rows, then their hard negatives. A row's own partner is none of them.
    """
    first_B, second_B, negative_B = texts_B3.unbind(1)
    row_B1, partner_B1 = first_B.unsqueeze(1), second_B.unsqueeze(1)
    same_BB = (partner_B1 == second_B) | (row_B1 == second_B) | (row_B1 == first_B)
    same_BB = same_BB.fill_diagonal_(False)
    return torch.cat((same_BB, (partner_B1 == negative_B) | (row_B1 == negative_B)), dim=1)


def _require_two_views(model: Headed, batch: Views) -> None:
    if not model.training or model.config.dropout or model.config.attention_dropout:
        return
    if bool((batch.texts_B3[:, 0] == batch.texts_B3[:, 1]).all()):
        raise ConfigError(
            Text("Both views of every text are the same: without dropout nothing makes them differ.",
                 "每条文本的两个视图完全相同：没有 dropout 就无法产生差异。"),
            Text("Set model.dropout=0.1, or give pairs of texts.", "请设 model.dropout=0.1，或提供成对的文本。"),
        )  # fmt: skip

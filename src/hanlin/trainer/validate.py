"""Validation loss: mean NLL in nats over every target of the held-out rows."""

import math

import torch
from torch import nn

from hanlin.base.device import Compute
from hanlin.base.errors import TrainingError
from hanlin.base.language import Text
from hanlin.batches.loader import Rows
from hanlin.objective.term import Objective


@torch.no_grad()
def validation_loss(
    model: nn.Module, objective: Objective, rows: Rows, limit: int, compute: Compute
) -> float:
    """Sum of losses over sum of counts, over the first `limit` rows in order; same rows each time."""
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    for batch in rows.once(limit):
        with compute.autocast():
            term = objective.loss(model, batch.to(compute.device))
        total, count = total + float(term.sum), count + term.count
    model.train(was_training)
    if not math.isfinite(total):
        raise TrainingError(
            Text(f"The validation loss is not finite ({total}).", f"验证损失不是有限值（{total}）。"),
            Text(
                "The weights have diverged: lower the learning rates; the last checkpoint is kept.",
                "权重已经发散：请降低学习率；最近的检查点仍在。",
            ),
        )
    return total / count

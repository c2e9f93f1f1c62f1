"""Validation: sums over counts, over the first held-out rows of each part of a mixture."""

import math
from collections import Counter

import torch
from torch import nn

from hanlin.base.device import Compute
from hanlin.base.errors import TrainingError
from hanlin.base.language import Text
from hanlin.objective.mixture import Mixture, Part


def validate(model: nn.Module, mixture: Mixture, limit: int, compute: Compute) -> dict[str, float]:
    """`valid_loss` and what else the objectives examine, over `limit` rows of each part, the same each time.

    With several parts each value stands for itself too (`valid_loss.masked`), and `valid_loss` is their mean by weight.
    """
    measured = {part.name: examine_part(model, part, limit, compute) for part in mixture.parts}
    if len(measured) == 1:
        (values,) = measured.values()
        return {f"valid_{name}": value for name, value in values.items()}
    weights = sum(part.weight for part in mixture.parts)
    mean = sum(part.weight * measured[part.name]["loss"] for part in mixture.parts) / weights
    apart = {f"valid_{name}.{part}": v for part, values in measured.items() for name, v in values.items()}
    return {"valid_loss": mean, **apart}


@torch.no_grad()
def examine_part(model: nn.Module, part: Part, limit: int | None, compute: Compute) -> dict[str, float]:
    """Mean of each thing that the objective examines; raises `TrainingError` when the loss is not finite."""
    was_training = model.training
    model.eval()
    sums, counts = Counter[str](), Counter[str]()
    for batch in part.held_out.once(limit):
        with compute.autocast():
            examined = part.objective.examine(model, batch.to(compute.device))
        for name, (total, count) in examined.items():
            sums[name] += total  # type: ignore[assignment]
            counts[name] += count
    model.train(was_training)
    if not math.isfinite(sums["loss"]):
        raise TrainingError(
            Text(f"The validation loss is not finite ({sums['loss']}).", f"验证损失不是有限值（{sums['loss']}）。"),
            Text(
                "The weights have diverged: lower the learning rates; the last checkpoint is kept.",
                "权重已经发散：请降低学习率；最近的检查点仍在。",
            ),
        )  # fmt: skip
    return {name: sums[name] / max(1, counts[name]) for name in sums}

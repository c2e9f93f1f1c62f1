"""Validation: sums over counts, over the first held-out rows of each part of a mixture."""

import math
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice

import torch

from hanlin.base.device import Compute
from hanlin.base.distributed import rank, ranks, total
from hanlin.base.errors import TrainingError
from hanlin.base.language import Text
from hanlin.batches.batch import Rowed
from hanlin.objective.mixture import Mixture, Part
from hanlin.trainer.learner import Learner
from hanlin.trainer.parallel import release


def validate(learner: Learner, mixture: Mixture, limit: int, compute: Compute) -> dict[str, float]:
    """`valid_loss` and what else the objectives examine, over `limit` rows of each part, the same each time.

    With several parts each value stands for itself too (`valid_loss.masked`), and `valid_loss` is their mean by weight.
    """
    measured = {part.name: examine_part(learner, part, limit, compute) for part in mixture.parts}
    if len(measured) == 1:
        (values,) = measured.values()
        return {f"valid_{name}": value for name, value in values.items()}
    weights = sum(part.weight for part in mixture.parts)
    mean = sum(part.weight * measured[part.name]["loss"] for part in mixture.parts) / weights
    apart = {f"valid_{name}.{part}": v for part, values in measured.items() for name, v in values.items()}
    return {"valid_loss": mean, **apart}


@torch.no_grad()
def examine_part(learner: Learner, part: Part, limit: int | None, compute: Compute) -> dict[str, float]:
    """Mean of each thing that the objective examines; raises `TrainingError` when the loss is not finite.

    Processes share the batches out among them.
    """
    was_training = learner.training
    learner.eval()
    sums, counts = defaultdict[str, float](float), defaultdict[str, float](float)
    for batch, is_own in _shared_out(part.held_out.once(limit)):
        with compute.autocast():
            examined = learner.examine(part.objective, batch.to(compute.device))
        for name, (summed, count) in examined.items():
            sums[name] += summed * is_own
            counts[name] += count * is_own
    release(learner)
    learner.train(was_training)
    pairs = zip(total(*sums.values()), total(*counts.values()), strict=True)
    means = {name: summed / max(1, count) for name, (summed, count) in zip(sums, pairs, strict=True)}
    if not math.isfinite(means["loss"]):
        raise TrainingError(
            Text(f"The validation loss is not finite ({means['loss']}).", f"验证损失不是有限值（{means['loss']}）。"),
            Text(
                "The weights have diverged: lower the learning rates; the last checkpoint is kept.",
                "权重已经发散：请降低学习率；最近的检查点仍在。",
            ),
        )  # fmt: skip
    return means


def _shared_out(batches: Iterator[Rowed]) -> Iterator[tuple[Rowed, bool]]:
    """The batches of this process, and whether each is its own.

    All have equally many, for a model that is divided among them runs in all at once: where the last ones are too few
    for all, some process takes one that belongs to another, and its values do not count.
    """
    while turn := list(islice(batches, ranks())):
        yield turn[min(rank(), len(turn) - 1)], rank() < len(turn)

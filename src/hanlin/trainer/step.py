"""One optimizer step: accumulate, reduce once, clip, check, update."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.optim import Optimizer

from hanlin.base.device import Compute
from hanlin.base.errors import TrainingError
from hanlin.base.language import Text
from hanlin.batches.batch import Rowed
from hanlin.objective.term import Objective
from hanlin.trainer.learner import Learner


@dataclass(frozen=True)
class StepResult:
    """Mean loss in nats over counted predictions, gradient norm before clipping, whether weights changed."""

    loss: float
    gradient_norm: float
    updated: bool


def training_step(
    learner: Learner,
    objective: Objective,
    optimizers: Sequence[Optimizer],
    batch: Rowed,
    compute: Compute,
    *,
    micro_rows: int,
    clip: float,
    on_nonfinite: str,
) -> StepResult:
    """Lower the loss of `batch` once. A step that is not finite changes no weight.

    Raises `TrainingError` naming the parameter if it is not finite and `on_nonfinite` is "stop".
    """
    count = max(1, objective.count(batch))
    loss = 0.0
    for micro in batch.split(micro_rows):
        micro = micro.to(compute.device)
        with compute.autocast():
            total = learner(objective, micro)
        (total / count).backward()
        loss += float(total.detach()) / count
    norm = float(torch.nn.utils.clip_grad_norm_(learner.parameters(), clip))
    finite = math.isfinite(loss) and math.isfinite(norm)
    if not finite and on_nonfinite == "stop":
        raise _not_finite(learner, loss)
    if finite:
        for optimizer in optimizers:
            optimizer.step()
    learner.zero_grad(set_to_none=True)
    return StepResult(loss, norm, finite)


def _not_finite(learner: Learner, loss: float) -> TrainingError:
    where = next(
        (
            n
            for n, p in learner.model.named_parameters()
            if p.grad is not None and not p.grad.isfinite().all()
        ),
        "the loss",
    )
    return TrainingError(
        Text(
            f"The step is not finite (loss {loss}, first seen in {where}); no weight was changed.",
            f"这一步出现非有限值（损失 {loss}，最先见于 {where}）；权重未作任何改动。",
        ),
        Text(
            "Lower learning_rate and muon_learning_rate, lengthen warmup, or set pretrain.on_nonfinite=skip, and "
            "train anew in another folder=... or with `hanlin pretrain RECIPE --fresh`. The last checkpoint is kept.",
            "请降低 learning_rate 与 muon_learning_rate、延长 warmup，或设 pretrain.on_nonfinite=skip，然后另设 "
            "folder=……，或用 `hanlin pretrain 配方 --fresh` 重新训练。最近的检查点仍在。",
        ),
    )

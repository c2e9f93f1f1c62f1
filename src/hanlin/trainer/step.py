"""One optimizer step: accumulate, reduce once, clip, check, update."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch.optim import Optimizer

from hanlin.base.device import Compute
from hanlin.base.distributed import ranks, total
from hanlin.base.errors import TrainingError
from hanlin.base.language import Text
from hanlin.batches.batch import Rowed
from hanlin.objective.term import Objective
from hanlin.trainer.gradients import clip_gradients, gradient_norms, norms_by_part
from hanlin.trainer.learner import Learner
from hanlin.trainer.loss_scale import LossScale
from hanlin.trainer.parallel import own_part, require_one_process, set_last_pass


@dataclass(frozen=True)
class StepResult:
    """Mean loss in nats over counted predictions, gradient norm before clipping, whether weights changed.

    tokens: token places that were read, over all processes. norms: of each part of the network, if asked for.
    """

    loss: float
    gradient_norm: float
    updated: bool
    tokens: int
    norms: Mapping[str, float] = field(default_factory=dict)


def training_step(
    learner: Learner,
    objective: Objective,
    optimizers: Sequence[Optimizer],
    batch: Rowed,
    compute: Compute,
    *,
    micro_rows: int,
    clip: float | None,
    on_nonfinite: str,
    scale: LossScale | None = None,
    refuse: Callable[[float], bool] | None = None,
    watch: bool = False,
) -> StepResult:
    """Lower the loss of `batch` once, which of several processes is each one's share of the rows.

    A step that is not finite, or whose loss `refuse` refuses, changes no weight. clip: largest norm of the gradient.
    scale: of the loss in float16. watch: whether to look at the norm of each part of the network.

    Raises `TrainingError` naming the parameter if it is not finite and `on_nonfinite` is "stop".
    """
    if objective.whole_batch:
        require_one_process()
    micros = [batch] if objective.whole_batch else batch.split(micro_rows)
    counted, tokens, passes = total(objective.count(batch), batch.tokens, len(micros))
    assert passes == len(micros) * ranks(), "processes wait for each other in every pass"
    count = max(1, counted)
    divisor = count / (scale.scale if scale else 1)
    loss = 0.0
    for index, micro in enumerate(micros):
        micro = micro.to(compute.device)
        set_last_pass(learner, index == len(micros) - 1)
        with compute.autocast():
            summed = learner(objective, micro)
        (summed / divisor).backward()
        loss += float(summed.detach()) / count
    (loss,) = total(loss)
    parameters = list(learner.parameters())
    if scale:
        scale.undo(parameters)
    norm, norms_N = gradient_norms(parameters)
    gradient_norm = float(norm)
    norms = norms_by_part(learner.model, norms_N) if watch else {}
    finite = math.isfinite(loss) and math.isfinite(gradient_norm)
    overflowed = scale is not None and math.isfinite(loss) and scale.overflowed(finite)
    if not finite and not overflowed and on_nonfinite == "stop":
        raise _not_finite(learner, loss)
    updated = finite and not (refuse and refuse(loss))
    if updated:
        if clip is not None:
            clip_gradients(parameters, clip, norm)
        for optimizer in optimizers:
            optimizer.step()
    learner.zero_grad(set_to_none=True)
    return StepResult(loss, gradient_norm, updated, int(tokens), norms)


def _not_finite(learner: Learner, loss: float) -> TrainingError:
    where = next(
        (
            n
            for n, p in learner.model.named_parameters()
            if p.grad is not None and not own_part(p.grad).isfinite().all()
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

"""A trial of a training run: real steps on random tokens, to say beforehand what it will take."""

import time
from dataclasses import dataclass

from torch.optim import Optimizer

from hanlin.base.device import Compute
from hanlin.base.memory import PeakMemory, used_bytes
from hanlin.model.assemble import build_model
from hanlin.model.config import CoreConfig
from hanlin.model.count import parameters
from hanlin.objective.mixture import Mixture, Part
from hanlin.trainer.config import TrainingConfig
from hanlin.trainer.learner import Learner, prepare_memory
from hanlin.trainer.optimizer import build_optimizers, optimizer_tensors
from hanlin.trainer.step import training_step


@dataclass(frozen=True)
class Trial:
    """Seconds of one optimizer step; bytes of weights, optimizer, the process before, and all at the peak.

    Gradients are as large as the weights; what is left of the peak is activations and working space.
    """

    step_seconds: float
    weight_bytes: int
    optimizer_bytes: int
    process_bytes: int
    peak_bytes: int

    @property
    def activation_bytes(self) -> int:
        """Activations, gradients of activations and working space."""
        return max(0, self.peak_bytes - self.process_bytes - 2 * self.weight_bytes - self.optimizer_bytes)


def run_trial(
    core: CoreConfig, mixture: Mixture, config: TrainingConfig, compute: Compute, steps: int = 2
) -> Trial:
    """Train a new model for one step unmeasured and `steps` timed of each part of `mixture`.

    A step's seconds are their mean by weight.
    """
    process = used_bytes(compute.device)
    with PeakMemory(compute.device) as memory:
        model = build_model(core).to(compute.device)
        optimizers = build_optimizers(model, config)
        prepare_memory(model, config)
        learner = Learner(model)
        seconds = 0.0
        for part in mixture.parts:
            taken = [_timed(learner, part, optimizers, config, compute) for _ in range(1 + steps)]
            seconds += part.weight * min(taken[1:])
    return Trial(
        step_seconds=seconds / sum(part.weight for part in mixture.parts),
        weight_bytes=4 * parameters(core),
        optimizer_bytes=sum(value.nbytes for value in optimizer_tensors(model, optimizers).values()),
        process_bytes=process,
        peak_bytes=memory.peak,
    )


def _timed(
    learner: Learner, part: Part, optimizers: list[Optimizer], config: TrainingConfig, compute: Compute
) -> float:
    batch = next(part.train.stream(0))
    start = time.perf_counter()
    training_step(
        learner,
        part.objective,
        optimizers,
        batch,
        compute,
        micro_rows=config.rows_at_once,
        clip=config.clip,
        on_nonfinite="skip",
    )
    return time.perf_counter() - start

"""A trial of a training run: real steps on random tokens, to say beforehand what it will take."""

import time
from dataclasses import dataclass

import torch

from hanlin.base.device import Compute
from hanlin.base.memory import PeakMemory, used_bytes
from hanlin.batches.pack import Batch
from hanlin.model.config import CoreConfig
from hanlin.model.count import parameters
from hanlin.model.decoder import Decoder
from hanlin.objective.term import Objective
from hanlin.trainer.config import PretrainConfig
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
    core: CoreConfig, objective: Objective, config: PretrainConfig, compute: Compute, steps: int = 2
) -> Trial:
    """Train a new model for one step unmeasured and `steps` timed, on random tokens of the full shape."""
    process = used_bytes(compute.device)
    with PeakMemory(compute.device) as memory:
        model = Decoder(core).to(compute.device)
        optimizers = build_optimizers(model, config)
        batch = _random_batch(config.batch_rows, core.window, core.vocab_size, config.separate_documents)
        seconds: list[float] = []
        for _ in range(1 + steps):
            start = time.perf_counter()
            training_step(
                model,
                objective,
                optimizers,
                batch,
                compute,
                micro_rows=config.micro_rows or config.batch_rows,
                clip=config.clip,
                on_nonfinite="skip",
            )
            seconds.append(time.perf_counter() - start)
    return Trial(
        step_seconds=min(seconds[1:]),
        weight_bytes=4 * parameters(core),
        optimizer_bytes=sum(value.nbytes for value in optimizer_tensors(model, optimizers).values()),
        process_bytes=process,
        peak_bytes=memory.peak,
    )


def _random_batch(rows: int, length: int, vocab_size: int, separate: bool) -> Batch:
    """Random tokens; with `separate`, two documents a row, so that the masked path is the one measured."""
    tokens_BT = torch.randint(vocab_size, (rows, length + 1))
    times_BT = torch.arange(length).expand(rows, length)
    half = length // 2
    return Batch(
        tokens_BT[:, :-1],
        tokens_BT[:, 1:],
        torch.where(times_BT < half, times_BT, times_BT - half) if separate else None,
        (times_BT >= half).long() if separate else None,
    )

"""A trial of a training run: real steps on random tokens, to say beforehand what it will take."""

import time
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor

from hanlin.base.device import Compute
from hanlin.batches.pack import Batch
from hanlin.model.count import parameters
from hanlin.model.decoder import Decoder
from hanlin.objective.term import Objective
from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.optimizer import build_optimizers, optimizer_tensors
from hanlin.trainer.step import training_step


@dataclass(frozen=True)
class Trial:
    """Seconds of one optimizer step, and the bytes that training will hold at its peak."""

    step_seconds: float
    weight_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    activation_bytes: int
    process_bytes: int

    @property
    def total_bytes(self) -> int:
        """All together."""
        held = self.weight_bytes + self.gradient_bytes + self.optimizer_bytes
        return held + self.activation_bytes + self.process_bytes


def run_trial(
    model: Decoder,
    objective: Objective,
    config: PretrainConfig,
    compute: Compute,
    steps: int = 2,
) -> Trial:
    """Train `model` for one step unmeasured and `steps` measured, on random tokens; its weights change.

    Activations are what autograd keeps for the backward pass of one micro-batch, counted storage by storage,
    plus the gradient of the logits. `process_bytes` is what the process held before the model's first step.
    """
    process = psutil.Process().memory_info().rss - sum(p.nbytes for p in model.parameters())
    micro_rows, length = config.micro_rows or config.batch_rows, model.config.window
    batch = _random_batch(config.batch_rows, length, model.config.vocab_size, config.separate_documents)
    activations = _saved_bytes(model, objective, batch.split(micro_rows)[0].to(compute.device), compute)
    optimizers = build_optimizers(model, config)
    seconds: list[float] = []
    for _ in range(1 + steps):
        start = time.perf_counter()
        training_step(
            model,
            objective,
            optimizers,
            batch,
            compute,
            micro_rows=micro_rows,
            clip=config.clip,
            on_nonfinite=config.on_nonfinite,
        )
        seconds.append(time.perf_counter() - start)
    weights = 4 * parameters(model.config)
    logits = 4 * micro_rows * length * model.config.vocab_size
    return Trial(
        step_seconds=min(seconds[1:]),
        weight_bytes=weights,
        gradient_bytes=weights,
        optimizer_bytes=sum(value.nbytes for value in optimizer_tensors(model, optimizers).values()),
        activation_bytes=activations + logits,
        process_bytes=process,
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


def _saved_bytes(model: Decoder, objective: Objective, batch: Batch, compute: Compute) -> int:
    """Bytes of the tensors that autograd saves in one forward pass, weights left out."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), compute.autocast():
        term = objective.loss(model, batch)
        total = sum(storages.values())
        del term
    return total

"""Which optimizer updates which parameter, and their state under parameter names."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from hanlin.trainer.config import TrainingConfig
from hanlin.trainer.groups import freeze, learnings
from hanlin.trainer.muon import Muon
from hanlin.trainer.parallel import laid_out_like
from hanlin.trainer.schedule_free import ScheduleFreeAdamW

_FUSED = ("cpu", "cuda", "mps")
"""Devices on which torch updates all parameters in one kernel."""


def build_optimizers(model: nn.Module, config: TrainingConfig) -> list[Optimizer]:
    """The optimizers of all parameters that are trained; those that `config.frozen` names no longer are.

    sgd: w <- w - lr g, with momentum m: v <- m v + g, w <- w - lr v; decay adds decay w to g.
    adam: arXiv 1412.6980, algorithm 1, with its bias correction; decay adds decay w to g (coupled, L2).
    adamw: the same with decay apart from the gradient (arXiv 1711.05101, algorithm 2).
    schedule-free: `schedule_free.py`. muon: `muon.py` for the matrices of the blocks, AdamW for all others.
    Raises `ConfigError` if a pattern matches no parameter.
    """
    freeze(model, config.frozen)
    parameters = dict(model.named_parameters())
    matrices: dict[tuple[float, float], list[Tensor]] = defaultdict(list)
    others: dict[tuple[float, float], list[Tensor]] = defaultdict(list)
    for name, one in learnings(model, config).items():
        groups = matrices if config.optimizer == "muon" and one.matrix else others
        groups[one.rate, one.decay].append(parameters[name])
    optimizers: list[Optimizer] = []
    if others:
        fused = next(model.parameters()).device.type in _FUSED
        optimizers.append(_others(_groups(others, config.learning_rate), config, fused))
    if matrices:
        groups_of_matrices = _groups(matrices, config.muon_learning_rate)
        optimizers.append(
            Muon(groups_of_matrices, config.muon_learning_rate, config.momentum, config.weight_decay)
        )
    return optimizers


def _groups(parameters: dict[tuple[float, float], list[Tensor]], rate: float) -> list[dict[str, Any]]:
    """Parameter groups of torch; `peak_lr` is the rate at the top of the schedule."""
    return [
        {"params": members, "lr": rate * factor, "peak_lr": rate * factor, "weight_decay": decay}
        for (factor, decay), members in parameters.items()
    ]


def _others(groups: list[dict[str, Any]], config: TrainingConfig, fused: bool) -> Optimizer:
    if config.optimizer == "sgd":
        # Not fused: torch has no fused form of it for parameters that are spread over processes.
        return SGD(groups, config.learning_rate, config.momentum)
    if config.optimizer == "adam":
        return Adam(groups, config.learning_rate, config.betas, fused=fused)
    if config.optimizer == "schedule-free":
        return ScheduleFreeAdamW(groups, config.learning_rate, config.betas)
    return AdamW(groups, config.learning_rate, config.betas, fused=fused)


def set_rate(optimizers: Sequence[Optimizer], share: float) -> None:
    """Set every learning rate to `share` of its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * share


def optimizer_tensors(model: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """All optimizer state as 'parameter name/quantity' -> tensor."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        f"{names[id(parameter)]}/{quantity}": value
        for optimizer in optimizers
        for parameter, state in optimizer.state.items()
        for quantity, value in state.items()
        if value is not None  # the momentum of plain gradient descent
    }


def load_optimizer_tensors(
    model: nn.Module, optimizers: Sequence[Optimizer], tensors: dict[str, Tensor]
) -> None:
    """Put back what `optimizer_tensors` gave."""
    parameters = dict(model.named_parameters())
    owner = {id(p): o for o in optimizers for group in o.param_groups for p in group["params"]}
    for key, value in tensors.items():
        name, quantity = key.rsplit("/", 1)
        parameter = parameters[name]
        optimizer = owner[id(parameter)]
        # Fused Adam counts its steps in a float32 scalar beside the parameter; other counters stay on the CPU.
        beside = value.shape == parameter.shape or (isinstance(optimizer, Adam) and parameter.is_cuda)
        home = parameter.device if beside else torch.device("cpu")
        if value.shape == parameter.shape:
            value = laid_out_like(value, parameter)
        optimizer.state[parameter][quantity] = value.to(home)

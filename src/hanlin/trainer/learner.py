"""Model and objective as one module, so that whatever wraps a forward pass (compilation, sharding) sees all of it."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hanlin.base.memory import keep_freed_memory
from hanlin.model.stack import Stack
from hanlin.objective.term import Objective, Ratio
from hanlin.trainer.config import TrainingConfig

_RECOMPUTED_BYTES = 2**21
"""With activation checkpointing freed blocks beyond this size go back to the system: that is what it is for."""


class Learner(nn.Module):
    """The summed loss of a batch. compiled: whether training passes run through `torch.compile`."""

    def __init__(self, model: nn.Module, compiled: bool = False) -> None:
        super().__init__()
        self.model = model
        self._trained = (
            _compiled(model) if compiled else model,
        )  # a tuple, so that it is no module of its own

    def forward(self, objective: Objective, batch: Any) -> Tensor:
        """`objective.loss` of the model: a scalar, float32, in nats."""
        (model,) = self._trained
        model.training = self.model.training
        return objective.loss(model, batch)

    def examine(self, objective: Objective, batch: Any) -> Mapping[str, Ratio]:
        """`objective.examine` of the model."""
        return objective.examine(self.model, batch)


def prepare_memory(model: nn.Module, config: TrainingConfig) -> None:
    """What decides how much memory training takes, beside the size of a batch: set before the first step."""
    keep_freed_memory(_RECOMPUTED_BYTES) if config.activation_checkpointing else keep_freed_memory()
    for module in model.modules():
        if isinstance(module, Stack):
            module.checkpointing = config.activation_checkpointing


def _compiled(model: nn.Module) -> nn.Module:
    """The same weights and modules, whose stacks compute their hidden states by a compiled graph.

    The loss stays outside: it chooses the places that count, whose number differs from batch to batch. Validation and
    samples use the model itself, as every new shape would be compiled anew.
    """
    twin = copy.copy(model)
    twin._modules = dict(model._modules)
    for name, module in model._modules.items():
        if isinstance(module, Stack):
            twin._modules[name] = _compiled(module)
    if isinstance(twin, Stack) and isinstance(model, Stack):
        # Of the model itself, whose settings (activation checkpointing) may yet change.
        twin.hidden = torch.compile(model.hidden)  # type: ignore[method-assign]
    return twin

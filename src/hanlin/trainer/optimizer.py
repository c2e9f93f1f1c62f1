"""Which optimizer updates which parameter, and their state under parameter names."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from hanlin.trainer.config import TrainingConfig
from hanlin.trainer.muon import Muon


def build_optimizers(model: nn.Module, config: TrainingConfig) -> list[Optimizer]:
    """Muon or AdamW for the matrices of the blocks, AdamW for embeddings, head, norms and biases."""
    blocks = [p for name, p in model.named_parameters() if "blocks." in name and p.dim() == 2]
    inner = {id(p) for p in blocks}
    others = [p for p in model.parameters() if id(p) not in inner]
    groups = [{"params": others, "weight_decay": 0.0}]
    if config.optimizer == "adamw":
        groups.append({"params": blocks, "weight_decay": config.weight_decay})
    adamw = AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)
    optimizers: list[Optimizer] = [adamw]
    if config.optimizer == "muon":
        optimizers.append(Muon(blocks, config.muon_learning_rate, config.momentum, config.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


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
        # AdamW counts its steps in a float32 scalar; everything else has the shape of the parameter.
        home = (
            parameter.device if value.shape == parameter.shape or parameter.is_cuda else torch.device("cpu")
        )
        owner[id(parameter)].state[parameter][quantity] = value.to(home)

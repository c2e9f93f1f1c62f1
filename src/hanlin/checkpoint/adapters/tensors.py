"""Adapter tensors under PEFT's names, both ways: what a family fuses into one layer, LoRA changes as one.

I inputs, O outputs, R rank.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hanlin.checkpoint.family import Family
from hanlin.checkpoint.keys import Entry
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.adapters.lora import LowRank, Whole
from hanlin.model.assemble import Model

LABEL_HEADS = ("classifier", "score", "qa_outputs")
"""The modules in which PEFT looks for the head of a model with labels."""

PARTS = ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector")
"""PEFT's names of A (R, I), B (O, R) and m (O,)."""


@dataclass(frozen=True)
class Module:
    """One linear layer of the family and the layers of ours that it holds, in order along its outputs."""

    name: str
    layers: tuple[str, ...]
    transposed: bool


@dataclass(frozen=True)
class Fused:
    """The change of one of the family's layers: A, B, the magnitude, and alpha."""

    down_RI: Tensor
    up_OR: Tensor
    magnitude_O: Tensor | None
    alpha: float

    @property
    def rank(self) -> int:
        """R."""
        return self.down_RI.shape[0]

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Its tensors by PEFT's names."""
        for part, tensor in zip(PARTS, (self.down_RI, self.up_OR, self.magnitude_O), strict=True):
            if tensor is not None:
                yield part, tensor.detach().cpu().contiguous()


def linear_modules(family: Family, model: Model) -> dict[str, Module]:
    """The family's linear layers, of those that are stored one to a tensor, by the name that PEFT knows."""
    modules = {}
    for entry in family.table(model.config):
        layers = tuple(name.removesuffix(".weight") for name in entry.ours)
        linear = all(name.endswith(".weight") for name in entry.ours) and all(
            isinstance(model.get_submodule(layer), nn.Linear) for layer in layers
        )
        if linear and entry.theirs.endswith(".weight") and entry.layout in ("same", "transposed"):
            name = known_as(entry, family, model).removesuffix(".weight")
            modules[name] = Module(name, layers, entry.layout == "transposed")
    return modules


def known_as(entry: Entry, family: Family, model: Model) -> str:
    """A tensor's name in the model that PEFT wraps: a bare one has no prefix."""
    return entry.theirs.removeprefix(family.prefix) if model.config.head == "none" else entry.theirs


@torch.no_grad()
def fuse(module: Module, changes: Mapping[str, LowRank], model: Model, *, rslora: bool) -> Fused:
    """The changes of a module's layers, some of which may have none, as one.

    Equal A's stay one; different ones are stacked, and B is then block diagonal.
    """
    layers = {name: model.get_submodule(name) for name in module.layers}
    there = [changes[name] for name in module.layers if name in changes]
    first = there[0]
    shared = all(torch.equal(change.down_RI, first.down_RI) for change in there)
    rank = first.rank if shared else sum(change.rank for change in there)
    ups, magnitudes, start = [], [], 0
    for name, layer in layers.items():
        assert isinstance(layer, nn.Linear)
        change = changes.get(name)
        up_OR = first.up_OR.new_zeros(layer.out_features, rank)
        if change is not None:
            up_OR[:, start : start + change.rank] = change.up_OR * (change.scaling / first.scaling)
            start += 0 if shared else change.rank
        ups.append(up_OR)
        magnitude = None if change is None else change.magnitude_O
        magnitudes.append(layer.weight.float().norm(dim=1) if magnitude is None else magnitude)
    return Fused(
        first.down_RI if shared else torch.cat([change.down_RI for change in there]),
        torch.cat(ups),
        None if first.magnitude_O is None else torch.cat(magnitudes),
        first.alpha if rank == first.rank else first.scaling * (math.sqrt(rank) if rslora else rank),
    )


@torch.no_grad()
def unfuse(module: Module, tensors: Mapping[str, Tensor], changes: Mapping[str, LowRank]) -> None:
    """Give the layers of a module their part of its tensors, by PEFT's names: the same A, their rows of the rest."""
    parts = [changes[name] for name in module.layers]
    sizes = [change.up_OR.shape[0] for change in parts]
    ups = tensors[PARTS[1]].split(sizes)  # type: ignore[no-untyped-call]
    for change, up_OR in zip(parts, ups, strict=True):
        change.down_RI.copy_(tensors[PARTS[0]])
        change.up_OR.copy_(up_OR)
    if PARTS[2] in tensors:
        for change, magnitude_O in zip(parts, tensors[PARTS[2]].split(sizes), strict=True):  # type: ignore[no-untyped-call]
            assert change.magnitude_O is not None
            change.magnitude_O.copy_(magnitude_O)


def whole_entries(family: Family, model: Model) -> dict[str, Entry]:
    """The tensors of linear layers, by the name that PEFT knows."""
    entries = {}
    for entry in family.table(model.config):
        modules = [model.get_submodule(name.rpartition(".")[0]) for name in entry.ours]
        if all(isinstance(module, nn.Linear) for module in modules):
            entries[known_as(entry, family, model)] = entry
    return entries


def whole_tensors(family: Family, adapters: Adapters, name: str) -> dict[str, Tensor]:
    """The layers that an adapter replaces, by the name that PEFT knows.

    Of a model with labels PEFT always keeps the whole head; what of it the adapter did not train is the base's.
    """
    model = adapters.model
    trained = {
        f"{layer}.{part}": parameter
        for layer, change in adapters.changes(name).items()
        if isinstance(change, Whole)
        for part, parameter in change.named_parameters()
    }
    base = dict(model.named_parameters())
    labels = model.config.head in ("classify", "regress", "tag", "span")
    tensors = {}
    for key, entry in whole_entries(family, model).items():
        kept = labels and key.split(".")[0] in LABEL_HEADS
        if kept or not trained.keys().isdisjoint(entry.ours):
            parts = [trained.get(ours, base[ours]).detach().cpu() for ours in entry.ours]
            tensors[key] = entry.join(parts)
    return tensors

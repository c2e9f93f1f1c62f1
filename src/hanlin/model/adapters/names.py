"""Layers chosen by names of ours."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from torch import nn

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.model.adapters.config import ALL_LINEAR

ValueT = TypeVar("ValueT")


def linear_layers(model: nn.Module) -> dict[str, nn.Linear]:
    """Every linear layer of a model, by full name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def choose_layers(model: nn.Module, wanted: Iterable[str], blocks: Sequence[int] | None = None) -> list[str]:
    """Full names of the linear layers that answer to one of `wanted`, in the model's order.

    Raises `ConfigError` naming the nearest for one that none answers to.
    """
    layers, wanted = list(linear_layers(model)), set(wanted)
    unknown = sorted(wanted.difference(*map(_answers_to, layers)))
    if unknown:
        raise _no_layer(unknown[0], layers)
    chosen = [layer for layer in layers if not wanted.isdisjoint(_answers_to(layer))]
    if blocks is None:
        return chosen
    for index in blocks:
        if not any(_block(layer) == index for layer in chosen):
            raise _no_layer(f"blocks.{index}", layers)
    return [layer for layer in chosen if _block(layer) in blocks]


def first_fitting(patterns: Mapping[str, ValueT], layer: str, default: ValueT) -> ValueT:
    """The value of the first pattern that a layer answers to."""
    names = _answers_to(layer)
    return next((value for pattern, value in patterns.items() if pattern in names), default)


def _answers_to(layer: str) -> set[str]:
    """The ends of a layer's full name, with and without the numbers of blocks and experts."""
    names = set(_ends(layer)) | set(_ends(_without_numbers(layer)))
    if _block(layer) is not None and not layer.endswith(".router"):
        names.add(ALL_LINEAR)
    return names


def _ends(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[first:]) for first in range(len(parts))]


def _block(layer: str) -> int | None:
    found = re.search(r"(?:^|\.)blocks\.(\d+)\.", layer)
    return int(found[1]) if found else None


def _without_numbers(layer: str) -> str:
    return ".".join(part for part in layer.split(".") if not part.isdigit())


def _no_layer(wanted: str, layers: list[str]) -> ConfigError:
    short = {".".join(_without_numbers(layer).split(".")[-2:]) for layer in layers}
    near = difflib.get_close_matches(wanted, sorted(short.union(*map(_answers_to, layers))), 1, cutoff=0.5)
    names = ", ".join(sorted(short))
    return ConfigError(
        Text(f"No linear layer's name ends in {wanted}" + (f"; did you mean {near[0]}?" if near else "."),
             f"没有名称以 {wanted} 结尾的线性层" + (f"；是否想写 {near[0]}？" if near else "。")),
        Text(f"Choose among {names}, or {ALL_LINEAR}.", f"请从 {names} 或 {ALL_LINEAR} 中选择。"),
    )  # fmt: skip

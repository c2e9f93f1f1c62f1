"""What each layer's attention sees, as config.json lists it: `layer_types` and `sliding_window`."""

from collections.abc import Sequence
from typing import Any

from hanlin.checkpoint.family import require, spelled
from hanlin.model.config import CoreConfig

_KINDS = {"full_attention": "full", "sliding_attention": "sliding"}


def read_patterns(kinds: Sequence[str], window: int | None) -> dict[str, Any]:
    """The settings of layers of these kinds: the shortest pattern that, repeated, gives them all."""
    for kind in kinds:
        require({"layer_types": kind}, "layer_types", *_KINDS)
    layers = len(kinds)
    period = next(n for n in range(1, layers + 1) if all(kinds[i] == kinds[i % n] for i in range(layers)))
    attention = tuple(_KINDS[kind] for kind in kinds[:period])
    return {"attention": attention, "attention_window": window if "sliding" in attention else None}


def write_patterns(config: CoreConfig) -> list[str]:
    """The kind of every layer; `LookupError` for block and global patterns, which such families do not have."""
    return [spelled(_KINDS, config.pattern(layer)) for layer in range(config.layers)]


def uniform(config: dict[str, Any], sliding: bool) -> list[str]:
    """The kinds of layers that are all alike."""
    return ["sliding_attention" if sliding else "full_attention"] * config["num_hidden_layers"]

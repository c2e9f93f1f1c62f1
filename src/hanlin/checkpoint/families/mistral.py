"""Mistral (arXiv 2310.06825) as `transformers` stores it: Llama with a sliding window in every layer."""

from typing import Any

from hanlin.checkpoint.families.llama import descendant, read_shape, write_shape
from hanlin.checkpoint.families.patterns import read_patterns, uniform
from hanlin.checkpoint.family import require
from hanlin.model.config import CoreConfig

_USUAL_WINDOW = 4096


def _read(config: dict[str, Any]) -> CoreConfig:
    require(config, "layer_types", None)  # transformers warns of them, and slides in every layer all the same
    window = config.get("sliding_window", _USUAL_WINDOW)
    return read_shape(config, "Mistral", **read_patterns(uniform(config, window is not None), window))


def _write(config: CoreConfig) -> dict[str, Any]:
    return {**write_shape(config, "Mistral"), "sliding_window": config.attention_window}


MISTRAL = descendant("mistral", _read, _write)

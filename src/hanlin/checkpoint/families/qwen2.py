"""Qwen2 and Qwen2.5 (arXiv 2407.10671) as `transformers` stores them: biases on queries, keys and values."""

from typing import Any

from hanlin.checkpoint.families.llama import descendant, read_shape, write_shape
from hanlin.checkpoint.families.patterns import read_patterns, write_patterns
from hanlin.model.config import CoreConfig


def read_sliding(config: dict[str, Any]) -> dict[str, Any]:
    """What each layer sees, as Qwen2 and Qwen3 say it: the first `max_window_layers` are full."""
    window = config.get("sliding_window", 4096) if config.get("use_sliding_window") else None
    slides = config["num_hidden_layers"] if window is None else config.get("max_window_layers", 28)
    kinds = config.get("layer_types") or [
        "full_attention" if layer < slides else "sliding_attention"
        for layer in range(config["num_hidden_layers"])
    ]
    return read_patterns(kinds, window)


def write_sliding(config: CoreConfig) -> dict[str, Any]:
    """The same for config.json; `max_window_layers` for readers that do not know `layer_types`."""
    kinds = write_patterns(config)
    return {
        "use_sliding_window": config.attention_window is not None,
        "sliding_window": config.attention_window,
        "max_window_layers": kinds.index("sliding_attention") if "sliding_attention" in kinds else len(kinds),
        "layer_types": kinds,
    }


def _read(config: dict[str, Any]) -> CoreConfig:
    return read_shape(config, "Qwen2", qkv_bias=True, **read_sliding(config))


def _write(config: CoreConfig) -> dict[str, Any]:
    return {**write_shape(config, "Qwen2"), **write_sliding(config)}


QWEN2 = descendant("qwen2", _read, _write)

"""Qwen3 (arXiv 2505.09388) as `transformers` stores it: queries and keys are normalised, head by head."""

from collections.abc import Mapping
from typing import Any

from hanlin.checkpoint.families.llama import NAMES, descendant, read_shape, write_shape
from hanlin.checkpoint.families.qwen2 import read_sliding, write_sliding
from hanlin.model.config import CoreConfig

QWEN3_NAMES: Mapping[str, str] = {
    **NAMES,
    "blocks.*.attention.query_norm": "model.layers.*.self_attn.q_norm",
    "blocks.*.attention.key_norm": "model.layers.*.self_attn.k_norm",
}


def read_qwen3(config: dict[str, Any], stem: str, **settings: Any) -> CoreConfig:
    """The settings of a Qwen3, dense or a mixture."""
    bias = config.get("attention_bias", False)
    return read_shape(config, stem, qk_norm=True, qkv_bias=bias, output_bias=bias, **settings)


def _read(config: dict[str, Any]) -> CoreConfig:
    return read_qwen3({"head_dim": 128, **config}, "Qwen3", **read_sliding(config))


def _write(config: CoreConfig) -> dict[str, Any]:
    return {
        **write_shape(config, "Qwen3"),
        **write_sliding(config),
        "attention_bias": config.qkv_bias,
    }


QWEN3 = descendant("qwen3", _read, _write, QWEN3_NAMES)

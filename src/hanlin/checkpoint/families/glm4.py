"""GLM-4 of 2025 (model_type glm4; arXiv 2406.12793 describes its forerunner) as `transformers` stores it.

Half of each head turns, in neighbouring pairs; norms before and after each sub-layer; gate and up in one tensor.
"""

from typing import Any

from hanlin.checkpoint.families.llama import NAMES, descendant, read_shape, write_shape
from hanlin.model.config import CoreConfig

_NAMES = {
    **NAMES,
    "blocks.*.attention_out_norm": "model.layers.*.post_self_attn_layernorm",
    "blocks.*.ffn.gate": "model.layers.*.mlp.gate_up_proj",
    "blocks.*.ffn.up": "model.layers.*.mlp.gate_up_proj",
    "blocks.*.ffn_out_norm": "model.layers.*.post_mlp_layernorm",
}

_DEFAULTS = {"head_dim": 128, "partial_rotary_factor": 0.5, "rms_norm_eps": 1.5625e-07}


def _read(config: dict[str, Any]) -> CoreConfig:
    return read_shape(
        {**_DEFAULTS, **config},
        "Glm4",
        partial=True,
        position_pairs="neighbours",
        norm_placement="sandwich",
        qkv_bias=config.get("attention_bias", True),
    )


def _write(config: CoreConfig) -> dict[str, Any]:
    return {**write_shape(config, "Glm4"), "attention_bias": config.qkv_bias}


GLM4 = descendant("glm4", _read, _write, _NAMES)

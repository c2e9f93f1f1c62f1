"""The text model of Gemma 3 (arXiv 2503.19786) as `transformers` stores it.

Norms before and after each sub-layer, multiplied by 1 + weight; scaled embeddings; five sliding layers to one full.
"""

from typing import Any

from hanlin.checkpoint.families.llama import descendant, read_shape, whole_heads, write_shape
from hanlin.checkpoint.families.patterns import read_patterns, write_patterns
from hanlin.checkpoint.families.qwen3 import QWEN3_NAMES
from hanlin.checkpoint.family import ACTIVATIONS, require, spelled
from hanlin.model.config import CoreConfig

_CLASSES = {"ForCausalLM": "lm", "TextModel": "none", "TextForSequenceClassification": "classify"}

_NAMES = {
    **QWEN3_NAMES,
    "blocks.*.attention_out_norm": "model.layers.*.post_attention_layernorm",
    "blocks.*.ffn_norm": "model.layers.*.pre_feedforward_layernorm",
    "blocks.*.ffn_out_norm": "model.layers.*.post_feedforward_layernorm",
}

_DEFAULTS = {
    "head_dim": 256,
    "query_pre_attn_scalar": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
}


def _read(config: dict[str, Any]) -> CoreConfig:
    config = {**_DEFAULTS, **config}
    require(config, "use_bidirectional_attention", False, None)
    require(config, "attn_logit_softcapping", None)  # transformers reads it and does not apply it
    whole_heads(config)
    bias, scalar = config.get("attention_bias", False), config["query_pre_attn_scalar"]
    whole, local = _ropes(config)
    return read_shape(
        {**config, "hidden_act": config["hidden_activation"], "rope_parameters": whole},
        "Gemma3",
        _CLASSES,
        **read_patterns(_kinds(config), config["sliding_window"]),
        rope_theta_local=local,
        qk_norm=True,
        qkv_bias=bias,
        output_bias=bias,
        norm_unit_offset=True,
        norm_placement="sandwich",
        embedding_scale=config["hidden_size"] ** 0.5,
        attention_scale=None if scalar == config["head_dim"] else scalar**-0.5,
        logit_softcap=config.get("final_logit_softcapping"),
    )


def _kinds(config: dict[str, Any]) -> list[str]:
    """The kinds of layers; older files only say how often one is full."""
    every = config["sliding_window_pattern"]
    return config.get("layer_types") or [
        "sliding_attention" if (layer + 1) % every else "full_attention"
        for layer in range(config["num_hidden_layers"])
    ]


def _ropes(config: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """The positions of full layers, and the base of sliding ones."""
    ropes = config.get("rope_parameters") or {}
    whole, local = ropes.get("full_attention") or {}, ropes.get("sliding_attention") or {}
    require(local, "rope_type", "default")
    theta = whole.get("rope_theta") or config.get("rope_theta") or 1e6
    return {**whole, "rope_theta": theta}, local.get("rope_theta") or config.get(
        "rope_local_base_freq"
    ) or 1e4


def _write(config: CoreConfig) -> dict[str, Any]:
    shape = write_shape(config, "Gemma3", _CLASSES)
    scale = config.head_size**-0.5 if config.attention_scale is None else config.attention_scale
    return {
        **shape,
        "hidden_activation": spelled({"gelu_pytorch_tanh": "gelu_tanh", **ACTIVATIONS}, config.activation),
        "attention_bias": config.qkv_bias,
        "query_pre_attn_scalar": round(scale**-2),
        "final_logit_softcapping": config.logit_softcap,
        "layer_types": write_patterns(config),
        "sliding_window": config.attention_window or config.window,
        "rope_local_base_freq": config.rope_theta_local,
        "rope_parameters": {
            "full_attention": shape["rope_parameters"],
            "sliding_attention": {"rope_type": "default", "rope_theta": config.rope_theta_local},
        },
    }


GEMMA3 = descendant("gemma3_text", _read, _write, _NAMES)

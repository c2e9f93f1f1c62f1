"""Qwen3's mixtures of experts (arXiv 2505.09388) as `transformers` stores them."""

from typing import Any

from hanlin.checkpoint.families.llama import descendant, write_shape
from hanlin.checkpoint.families.patterns import read_patterns, uniform
from hanlin.checkpoint.families.qwen3 import QWEN3_NAMES, read_qwen3
from hanlin.model.config import CoreConfig

_NAMES = {
    **QWEN3_NAMES,
    "blocks.*.ffn.router": "model.layers.*.mlp.gate",
    "blocks.*.ffn.experts.*.gate": "model.layers.*.mlp.experts.*.gate_proj",
    "blocks.*.ffn.experts.*.up": "model.layers.*.mlp.experts.*.up_proj",
    "blocks.*.ffn.experts.*.down": "model.layers.*.mlp.experts.*.down_proj",
}


def _read(config: dict[str, Any]) -> CoreConfig:
    window = config.get("sliding_window", 4096) if config.get("use_sliding_window") else None
    # Newer files call the number of experts as Mixtral's do.
    experts = config["num_local_experts"] if "num_local_experts" in config else config["num_experts"]
    return read_qwen3(
        config,
        "Qwen3Moe",
        **read_patterns(uniform(config, window is not None), window),
        experts=experts,
        experts_per_token=config.get("num_experts_per_tok", 8),
        expert_width=config["moe_intermediate_size"],
        router_normalize=config.get("norm_topk_prob", False),
        router_loss=config.get("router_aux_loss_coef", 0.001),
        dense_layers=_dense_layers(config),
    )


def _dense_layers(config: dict[str, Any]) -> list[int]:
    """Every layer is a mixture but those that are listed; `decoder_sparse_step` n makes it every n-th."""
    listed, step = config.get("mlp_only_layers") or (), config.get("decoder_sparse_step", 1)
    return [i for i in range(config["num_hidden_layers"]) if i in listed or (i + 1) % step]


def _write(config: CoreConfig) -> dict[str, Any]:
    return {
        **write_shape(config, "Qwen3Moe"),
        "attention_bias": config.qkv_bias,
        "use_sliding_window": config.attention_window is not None,
        "sliding_window": config.attention_window,
        "num_experts": config.experts,
        "num_experts_per_tok": config.experts_per_token,
        "moe_intermediate_size": config.expert_width,
        "norm_topk_prob": config.router_normalize,
        "router_aux_loss_coef": config.router_loss,
        "mlp_only_layers": list(config.dense_layers),
        "decoder_sparse_step": 1,
    }


QWEN3_MOE = descendant("qwen3_moe", _read, _write, _NAMES)

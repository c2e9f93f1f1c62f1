"""Mixtral (arXiv 2401.04088) as `transformers` stores it: Mistral with a mixture of experts in every layer."""

from typing import Any

from hanlin.checkpoint.families.llama import NAMES, descendant, read_shape, write_shape
from hanlin.checkpoint.families.patterns import read_patterns, uniform
from hanlin.checkpoint.family import require
from hanlin.model.config import CoreConfig

_NAMES = {
    **NAMES,
    "blocks.*.ffn.router": "model.layers.*.block_sparse_moe.gate",
    "blocks.*.ffn.experts.*.gate": "model.layers.*.block_sparse_moe.experts.*.w1",
    "blocks.*.ffn.experts.*.up": "model.layers.*.block_sparse_moe.experts.*.w3",
    "blocks.*.ffn.experts.*.down": "model.layers.*.block_sparse_moe.experts.*.w2",
}


def _read(config: dict[str, Any]) -> CoreConfig:
    require(config, "router_jitter_noise", 0.0)
    window = config.get("sliding_window")
    return read_shape(
        {"rope_theta": 1e6, "rms_norm_eps": 1e-5, **config},
        "Mixtral",
        **read_patterns(uniform(config, window is not None), window),
        experts=config["num_local_experts"],
        experts_per_token=config.get("num_experts_per_tok", 2),
        router_loss=config.get("router_aux_loss_coef", 0.001),
    )


def _write(config: CoreConfig) -> dict[str, Any]:
    return {
        **write_shape(config, "Mixtral"),
        "sliding_window": config.attention_window,
        **({"num_local_experts": config.experts} if config.experts else {}),
        "num_experts_per_tok": config.experts_per_token,
        "router_aux_loss_coef": config.router_loss,
    }


MIXTRAL = descendant("mixtral", _read, _write, _NAMES)

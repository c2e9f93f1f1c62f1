"""Llama (arXiv 2302.13971) as `transformers` stores it: LlamaForCausalLM."""

from collections.abc import Iterator
from typing import Any

from hanlin.checkpoint.family import Family, require, tied_head
from hanlin.checkpoint.keys import Entry
from hanlin.model.config import CoreConfig


def _read(config: dict[str, Any]) -> CoreConfig:
    require(config, "hidden_act", "silu")
    require(config, "attention_bias", False)
    require(config, "mlp_bias", False)
    require(config, "rope_scaling", None)
    rope = config.get("rope_parameters") or {}
    require(rope, "rope_type", "default")
    return CoreConfig.model_validate({
        "style": "llama",
        "vocab_size": config["vocab_size"],
        "width": config["hidden_size"],
        "layers": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
        "kv_heads": config.get("num_key_value_heads") or config["num_attention_heads"],
        **({"head_size": config["head_dim"]} if config.get("head_dim") else {}),
        "ffn_width": config["intermediate_size"],
        "window": config["max_position_embeddings"],
        "rope_theta": rope.get("rope_theta", config.get("rope_theta", 10000.0)),
        "norm_eps": config.get("rms_norm_eps", 1e-6),
        "tied": config.get("tie_word_embeddings", False),
    })  # fmt: skip


def _write(config: CoreConfig) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_size,
        "intermediate_size": config.ffn_width,
        "max_position_embeddings": config.window,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "rms_norm_eps": config.norm_eps,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": config.tied,
    }


def _table(config: CoreConfig) -> Iterator[Entry]:
    yield Entry("model.embed_tokens.weight", ("embed.token.weight",))
    for i in range(config.layers):
        for theirs, ours in (
            ("self_attn.q_proj", "attention.query"),
            ("self_attn.k_proj", "attention.key"),
            ("self_attn.v_proj", "attention.value"),
            ("self_attn.o_proj", "attention.output"),
            ("mlp.gate_proj", "ffn.gate"),
            ("mlp.up_proj", "ffn.up"),
            ("mlp.down_proj", "ffn.down"),
            ("input_layernorm", "attention_norm"),
            ("post_attention_layernorm", "ffn_norm"),
        ):
            yield Entry(f"model.layers.{i}.{theirs}.weight", (f"blocks.{i}.{ours}.weight",))
    yield Entry("model.norm.weight", ("norm.weight",))
    if not config.tied:
        yield Entry("lm_head.weight", ("head.weight",))


LLAMA = Family(
    name="llama",
    read=_read,
    write=_write,
    table=_table,
    copies=tied_head("model.embed_tokens.weight"),
    prefix="model.",
    ignored=(".rotary_emb.inv_freq",),
)

"""Llama (arXiv 2302.13971) as `transformers` stores it, and what its descendants (Mistral, Qwen ...) store alike."""

from collections.abc import Callable, Mapping
from typing import Any

from hanlin.checkpoint.families.rope import read_rope, write_rope
from hanlin.checkpoint.families.task import read_task, write_task
from hanlin.checkpoint.family import ACTIVATIONS, Family, require, spelled, tied_head
from hanlin.checkpoint.keys import entries
from hanlin.model.config import CoreConfig

CLASSES = {
    "ForCausalLM": "lm",
    "Model": "none",
    "ForSequenceClassification": "classify",
    "ForTokenClassification": "tag",
}

NAMES = {
    "embed.token": "model.embed_tokens",
    "blocks.*.attention_norm": "model.layers.*.input_layernorm",
    "blocks.*.attention.query": "model.layers.*.self_attn.q_proj",
    "blocks.*.attention.key": "model.layers.*.self_attn.k_proj",
    "blocks.*.attention.value": "model.layers.*.self_attn.v_proj",
    "blocks.*.attention.output": "model.layers.*.self_attn.o_proj",
    "blocks.*.ffn_norm": "model.layers.*.post_attention_layernorm",
    "blocks.*.ffn.gate": "model.layers.*.mlp.gate_proj",
    "blocks.*.ffn.up": "model.layers.*.mlp.up_proj",
    "blocks.*.ffn.down": "model.layers.*.mlp.down_proj",
    "norm": "model.norm",
}


def read_shape(
    config: dict[str, Any],
    stem: str,
    classes: Mapping[str, str] = CLASSES,
    *,
    partial: bool = False,
    **settings: Any,
) -> CoreConfig:
    """The settings that all of these families write alike, and `settings`, what one has of its own.

    partial: whether only a part of each head may turn.
    """
    require(config, "hidden_act", *ACTIVATIONS)
    rope = read_rope(config)
    if not partial:
        require({"partial_rotary_factor": rope["rotary_share"]}, "partial_rotary_factor", 1.0)
    return CoreConfig.model_validate({
        "style": "llama",
        **read_task(config, stem, classes),
        "vocab_size": config["vocab_size"],
        "width": config["hidden_size"],
        "layers": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
        "kv_heads": config.get("num_key_value_heads") or config["num_attention_heads"],
        **({"head_size": config["head_dim"]} if config.get("head_dim") else {}),
        "ffn_width": config["intermediate_size"],
        "activation": ACTIVATIONS[config.get("hidden_act", "silu")],
        "norm_eps": config.get("rms_norm_eps", 1e-6),
        "tied": config.get("tie_word_embeddings", False),
        "attention_dropout": config.get("attention_dropout", 0.0),
        **rope,
        **settings,
    })  # fmt: skip


def write_shape(config: CoreConfig, stem: str, classes: Mapping[str, str] = CLASSES) -> dict[str, Any]:
    """The same for config.json."""
    return {
        **write_task(config, stem, classes),
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_size,
        "intermediate_size": config.ffn_width,
        "hidden_act": spelled(ACTIVATIONS, config.activation),
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
        "attention_dropout": config.attention_dropout,
        **write_rope(config),
    }


def whole_heads(config: dict[str, Any]) -> None:
    """Refuse heads that do not divide the width: `transformers` opens no such Llama or Gemma."""
    width, heads = config["hidden_size"], config["num_attention_heads"]
    if width % heads:
        raise ValueError(f"hidden_size {width} is not divisible by num_attention_heads {heads}")


def _read(config: dict[str, Any]) -> CoreConfig:
    bias = config.get("attention_bias", False)
    whole_heads(config)
    return read_shape(
        config, "Llama", qkv_bias=bias, output_bias=bias, ffn_bias=config.get("mlp_bias", False)
    )


def _write(config: CoreConfig) -> dict[str, Any]:
    shape = write_shape(config, "Llama")
    return {**shape, "attention_bias": config.qkv_bias, "mlp_bias": config.ffn_bias}


def descendant(
    name: str,
    read: Callable[[dict[str, Any]], CoreConfig],
    write: Callable[[CoreConfig], dict[str, Any]],
    names: Mapping[str, str] = NAMES,
) -> Family:
    """Llama or one of its descendants, whose files are laid out alike."""
    return Family(
        name=name,
        read=read,
        write=write,
        table=lambda config: entries(
            config, {**names, "head": "lm_head" if config.head == "lm" else "score"}
        ),
        copies=tied_head("model.embed_tokens.weight"),
        prefix="model.",
        outside=("lm_head.", "score."),
        ignored=(".rotary_emb.inv_freq",),
    )


LLAMA = descendant("llama", _read, _write)

"""GPT-2 (Radford et al. 2019) as `transformers` stores it: GPT2LMHeadModel."""

from collections.abc import Iterator
from typing import Any

from hanlin.checkpoint.family import Family, require, spelled, tied_head
from hanlin.checkpoint.keys import Entry, Layout
from hanlin.model.config import CoreConfig

_ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
    "silu": "silu",
}


def _read(config: dict[str, Any]) -> CoreConfig:
    require(config, "scale_attn_weights", True)
    require(config, "scale_attn_by_inverse_layer_idx", False)
    require(config, "add_cross_attention", False)
    require(config, "activation_function", *_ACTIVATIONS)
    return CoreConfig.model_validate({
        "style": "gpt2",
        "vocab_size": config["vocab_size"],
        "width": config["n_embd"],
        "layers": config["n_layer"],
        "heads": config["n_head"],
        "ffn_width": config.get("n_inner") or 4 * config["n_embd"],
        "window": config["n_positions"],
        "norm_eps": config.get("layer_norm_epsilon", 1e-5),
        "activation": _ACTIVATIONS[config.get("activation_function", "gelu_new")],
        "tied": config.get("tie_word_embeddings", True),
        "dropout": config.get("resid_pdrop", 0.0),
        "attention_dropout": config.get("attn_pdrop", 0.0),
    })  # fmt: skip


def _write(config: CoreConfig) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": config.vocab_size,
        "n_embd": config.width,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": config.ffn_width,
        "n_positions": config.window,
        "layer_norm_epsilon": config.norm_eps,
        "activation_function": spelled(_ACTIVATIONS, config.activation),
        "tie_word_embeddings": config.tied,
        "resid_pdrop": config.dropout,
        "attn_pdrop": config.attention_dropout,
        "embd_pdrop": config.dropout,
    }


def _table(config: CoreConfig) -> Iterator[Entry]:
    yield Entry("transformer.wte.weight", ("embed.token.weight",))
    yield Entry("transformer.wpe.weight", ("embed.position.weight",))
    for i in range(config.layers):
        ours, theirs = f"blocks.{i}", f"transformer.h.{i}"
        for part in ("weight", "bias"):
            layout: Layout = "transposed" if part == "weight" else "same"
            fused = tuple(f"{ours}.attention.{name}.{part}" for name in ("query", "key", "value"))
            yield Entry(f"{theirs}.attn.c_attn.{part}", fused, layout)
            yield Entry(f"{theirs}.attn.c_proj.{part}", (f"{ours}.attention.output.{part}",), layout)
            yield Entry(f"{theirs}.mlp.c_fc.{part}", (f"{ours}.ffn.up.{part}",), layout)
            yield Entry(f"{theirs}.mlp.c_proj.{part}", (f"{ours}.ffn.down.{part}",), layout)
            yield Entry(f"{theirs}.ln_1.{part}", (f"{ours}.attention_norm.{part}",))
            yield Entry(f"{theirs}.ln_2.{part}", (f"{ours}.ffn_norm.{part}",))
    yield Entry("transformer.ln_f.weight", ("norm.weight",))
    yield Entry("transformer.ln_f.bias", ("norm.bias",))
    if not config.tied:
        yield Entry("lm_head.weight", ("head.weight",))


GPT2 = Family(
    name="gpt2",
    read=_read,
    write=_write,
    table=_table,
    copies=tied_head("transformer.wte.weight"),
    prefix="transformer.",
    ignored=(".attn.bias", ".attn.masked_bias"),
)

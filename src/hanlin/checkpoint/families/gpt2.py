"""GPT-2 (Radford et al. 2019) as `transformers` stores it: GPT2LMHeadModel and the classes with other heads."""

from collections.abc import Iterator
from typing import Any

from hanlin.checkpoint.families.task import read_task, write_task
from hanlin.checkpoint.family import ACTIVATIONS, Family, require, spelled, tied_head
from hanlin.checkpoint.keys import Entry, entries
from hanlin.model.config import CoreConfig

_CLASSES = {
    "LMHeadModel": "lm",
    "Model": "none",
    "ForSequenceClassification": "classify",
    "ForTokenClassification": "tag",
}

_NAMES = {
    "embed.token": "transformer.wte",
    "embed.position": "transformer.wpe",
    "blocks.*.attention_norm": "transformer.h.*.ln_1",
    "blocks.*.attention.query": "transformer.h.*.attn.c_attn",
    "blocks.*.attention.key": "transformer.h.*.attn.c_attn",
    "blocks.*.attention.value": "transformer.h.*.attn.c_attn",
    "blocks.*.attention.output": "transformer.h.*.attn.c_proj",
    "blocks.*.ffn_norm": "transformer.h.*.ln_2",
    "blocks.*.ffn.up": "transformer.h.*.mlp.c_fc",
    "blocks.*.ffn.down": "transformer.h.*.mlp.c_proj",
    "norm": "transformer.ln_f",
}

_HEADS = {"lm": "lm_head", "classify": "score", "regress": "score", "tag": "classifier"}


def _read(config: dict[str, Any]) -> CoreConfig:
    require(config, "scale_attn_weights", True)
    require(config, "scale_attn_by_inverse_layer_idx", False)
    require(config, "add_cross_attention", False)
    require({"activation_function": "gelu_new", **config}, "activation_function", *ACTIVATIONS)
    dropout = config.get("resid_pdrop", 0.0)
    require(config, "embd_pdrop", dropout)
    return CoreConfig.model_validate({
        "style": "gpt2",
        **read_task(config, "GPT2", _CLASSES),
        "vocab_size": config["vocab_size"],
        "width": config["n_embd"],
        "layers": config["n_layer"],
        "heads": config["n_head"],
        "ffn_width": config.get("n_inner") or 4 * config["n_embd"],
        "window": config["n_positions"],
        "norm_eps": config.get("layer_norm_epsilon", 1e-5),
        "activation": ACTIVATIONS[config.get("activation_function", "gelu_new")],
        "tied": config.get("tie_word_embeddings", True),
        "dropout": dropout,
        "attention_dropout": config.get("attn_pdrop", 0.0),
    })  # fmt: skip


def _write(config: CoreConfig) -> dict[str, Any]:
    return {
        **write_task(config, "GPT2", _CLASSES),
        "vocab_size": config.vocab_size,
        "n_embd": config.width,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": config.ffn_width,
        "n_positions": config.window,
        "layer_norm_epsilon": config.norm_eps,
        "activation_function": spelled(ACTIVATIONS, config.activation),
        "tie_word_embeddings": config.tied,
        "resid_pdrop": config.dropout,
        "attn_pdrop": config.attention_dropout,
        "embd_pdrop": config.dropout,
    }


def _table(config: CoreConfig) -> Iterator[Entry]:
    """Its linear layers are stored (input, output)."""
    linear = ("attn.c_attn.weight", "c_proj.weight", "mlp.c_fc.weight")
    return entries(config, {**_NAMES, "head": _HEADS.get(config.head, "")}, linear)


GPT2 = Family(
    name="gpt2",
    read=_read,
    write=_write,
    table=_table,
    copies=tied_head("transformer.wte.weight"),
    prefix="transformer.",
    outside=("lm_head.", "score.", "classifier."),
    ignored=(".attn.bias", ".attn.masked_bias"),
)

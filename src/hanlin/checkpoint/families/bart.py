"""BART (arXiv 1910.13461) as `transformers` stores it: BartForConditionalGeneration. Marian shares its layout."""

from collections.abc import Collection, Iterator
from typing import Any

from hanlin.checkpoint.family import ACTIVATIONS, Family, require, spelled
from hanlin.checkpoint.keys import Entry, entries
from hanlin.model.config import CoreConfig

LOGITS_BIAS = "final_logits_bias"

_PARTS = {
    "embed.position": "embed_positions",
    "embed.norm": "layernorm_embedding",
    "blocks.*.ffn_norm": "layers.*.final_layer_norm",
    "blocks.*.ffn.up": "layers.*.fc1",
    "blocks.*.ffn.down": "layers.*.fc2",
    **{
        f"blocks.*.{ours}": f"layers.*.{theirs}"
        for part, attention in (("attention", "self_attn"), ("cross", "encoder_attn"))
        for ours, theirs in (
            (f"{part}_norm", f"{attention}_layer_norm"),
            (f"{part}.query", f"{attention}.q_proj"),
            (f"{part}.key", f"{attention}.k_proj"),
            (f"{part}.value", f"{attention}.v_proj"),
            (f"{part}.output", f"{attention}.out_proj"),
        )
    },
}
_NAMES = {
    "encoder.embed.token": "model.shared",
    "head": "lm_head",
    **{
        f"{side}.{ours}": f"model.{side}.{theirs}"
        for side in ("encoder", "decoder")
        for ours, theirs in _PARTS.items()
    },
}


def read_stacks(config: dict[str, Any], **settings: Any) -> CoreConfig:
    """What BART and Marian have in common, completed by `settings`."""
    require(config, "is_encoder_decoder", True)
    require(config, "tie_word_embeddings", True)
    require(config, "normalize_before", False)
    require(config, "add_final_layer_norm", False)
    require(config, "activation_function", "gelu", *ACTIVATIONS)
    for size in ("ffn_dim", "attention_heads"):
        require(config, f"decoder_{size}", config[f"encoder_{size}"])
    width = config["d_model"]
    return CoreConfig.model_validate({
        "style": "transformer",
        "vocab_size": config["vocab_size"],
        "width": width,
        "layers": config["encoder_layers"],
        "decoder_layers": config["decoder_layers"],
        "heads": config["encoder_attention_heads"],
        "ffn_width": config["encoder_ffn_dim"],
        "window": config["max_position_embeddings"],
        "embedding_scale": width**0.5 if config.get("scale_embedding", False) else 1.0,
        "activation": ACTIVATIONS[config.get("activation_function", "gelu")],
        "head_bias": True,  # until `settle_bias` has seen the tensors
        "dropout": config.get("dropout", 0.0),
        "attention_dropout": config.get("attention_dropout", 0.0),
        **settings,
    })  # fmt: skip


def write_stacks(config: CoreConfig) -> dict[str, Any]:
    """The reverse of `read_stacks`."""
    return {
        "is_encoder_decoder": True,
        "vocab_size": config.vocab_size,
        "d_model": config.width,
        "encoder_layers": config.layers,
        "decoder_layers": config.decoder_layers,
        "encoder_attention_heads": config.heads,
        "decoder_attention_heads": config.heads,
        "encoder_ffn_dim": config.ffn_width,
        "decoder_ffn_dim": config.ffn_width,
        "max_position_embeddings": config.window,
        "scale_embedding": config.embedding_scale != 1,
        "activation_function": spelled(ACTIVATIONS, config.activation),
        "tie_word_embeddings": config.tied,
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
    }


def stacks_table(config: CoreConfig) -> Iterator[Entry]:
    """Every tensor of both stacks, and the bias of the head, which they store as a row."""
    for entry in entries(config, _NAMES):
        yield Entry(LOGITS_BIAS, entry.ours, "row") if entry.ours == ("head.bias",) else entry


def settle_bias(config: CoreConfig, names: Collection[str]) -> CoreConfig:
    """Files may leave out a bias of zeros."""
    return config.model_copy(update={"head_bias": LOGITS_BIAS in names})


def shared_copies(config: CoreConfig) -> dict[str, str]:
    """All embeddings and the head are one table, which files may repeat."""
    names = ("lm_head.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
    return dict.fromkeys(names, "model.shared.weight")


def _read(config: dict[str, Any]) -> CoreConfig:
    require(config, "normalize_embedding", True)
    require(config, "static_position_embeddings", False)
    return read_stacks(config, position="learned", position_offset=2, embedding_norm=True)


def _write(config: CoreConfig) -> dict[str, Any]:
    return {"architectures": ["BartForConditionalGeneration"], **write_stacks(config)}


BART = Family(
    name="bart",
    read=_read,
    write=_write,
    table=stacks_table,
    copies=shared_copies,
    settle=settle_bias,
    prefix="model.",
    outside=("lm_head.", LOGITS_BIAS),
    ignored=("encoder.version", "decoder.version"),
)

"""T5 (arXiv 1910.10683) and T5 v1.1 (arXiv 2002.05202) as `transformers` stores them: T5ForConditionalGeneration."""

from collections.abc import Collection, Iterator
from typing import Any

from hanlin.checkpoint.family import ACTIVATIONS, Family, require, spelled
from hanlin.checkpoint.keys import Entry, entries
from hanlin.model.config import CoreConfig

HEAD = "lm_head.weight"

_LETTERS = {"query": "q", "key": "k", "value": "v", "output": "o"}
_ATTENTIONS = {
    part: {ours: f"{theirs}.{letter}" for ours, letter in _LETTERS.items()}
    for part, theirs in (("attention", "SelfAttention"), ("cross", "EncDecAttention"))
}
_FEED_FORWARD = {
    False: {"up": "DenseReluDense.wi", "down": "DenseReluDense.wo"},
    True: {"gate": "DenseReluDense.wi_0", "up": "DenseReluDense.wi_1", "down": "DenseReluDense.wo"},
}


def _read(config: dict[str, Any]) -> CoreConfig:
    require(config, "is_encoder_decoder", True)
    # v1.1 does not scale what its head reads: some files say so by the one key, some by the other.
    tied = config.get("tie_word_embeddings", True)
    scaled = config.get("scale_decoder_outputs", tied)
    require({"tie_word_embeddings": tied}, "tie_word_embeddings", True, *([] if scaled else [False]))
    activation, gated = _feed_forward(config)
    width, depth = config["d_model"], config["num_layers"]
    return CoreConfig.model_validate({
        "assembly": "seq2seq",
        "vocab_size": config["vocab_size"],
        "width": width,
        "layers": depth,
        "decoder_layers": config.get("num_decoder_layers") or depth,
        "heads": config["num_heads"],
        "head_size": config["d_kv"],
        "ffn_width": config["d_ff"],
        "window": config.get("n_positions", 512),
        "position": "relative",
        "relative_buckets": config.get("relative_attention_num_buckets", 32),
        "relative_max_distance": config.get("relative_attention_max_distance", 128),
        "attention_scale": 1.0,
        "norm": "rms",
        "norm_eps": config.get("layer_norm_epsilon", 1e-6),
        "activation": activation,
        "gated": gated,
        "bias": False,
        "tied": tied,
        "head_scale": width**-0.5 if scaled else 1.0,
        "dropout": config.get("dropout_rate", 0.0),
    })  # fmt: skip


def _settle(config: CoreConfig, names: Collection[str]) -> CoreConfig:
    """The library writes `tie_word_embeddings` true even for a head of its own, which then is in the file."""
    own = config.head_scale == 1 and HEAD in names
    return config.model_copy(update={"tied": config.tied and not own})


def _feed_forward(config: dict[str, Any]) -> tuple[str, bool]:
    """The activation, and whether it is a gate: `gated-gelu` means the tanh approximation, plain `gelu` does not."""
    projection = config.get("feed_forward_proj", "relu")
    usual = "gelu_new" if projection == "gated-gelu" else projection.removeprefix("gated-")
    found = {"dense_act_fn": usual, **config}
    require(found, "dense_act_fn", *ACTIVATIONS)
    return ACTIVATIONS[found["dense_act_fn"]], projection.startswith("gated-")


def _write(config: CoreConfig) -> dict[str, Any]:
    activation = spelled(ACTIVATIONS, config.activation)
    gate = "gelu" if activation == "gelu_new" else activation
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "is_encoder_decoder": True,
        "vocab_size": config.vocab_size,
        "d_model": config.width,
        "num_layers": config.layers,
        "num_decoder_layers": config.decoder_layers,
        "num_heads": config.heads,
        "d_kv": config.head_size,
        "d_ff": config.ffn_width,
        "n_positions": config.window,
        "relative_attention_num_buckets": config.relative_buckets,
        "relative_attention_max_distance": config.relative_max_distance,
        "layer_norm_epsilon": config.norm_eps,
        "feed_forward_proj": f"gated-{gate}" if config.gated else activation,
        "tie_word_embeddings": config.tied,
        "scale_decoder_outputs": config.head_scale != 1,
        "dropout_rate": config.dropout,
    }


def _table(config: CoreConfig) -> Iterator[Entry]:
    names = {"encoder.embed.token": "shared", "head": "lm_head"}
    for stack, attentions in (("encoder", ("attention",)), ("decoder", ("attention", "cross"))):
        names[f"{stack}.bias.bucket"] = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias"
        names[f"{stack}.norm"] = f"{stack}.final_layer_norm"
        for place, part in enumerate((*attentions, "ffn")):
            ours, theirs = f"{stack}.blocks.*.{part}", f"{stack}.block.*.layer.{place}"
            names[f"{ours}_norm"] = f"{theirs}.layer_norm"
            layers = _FEED_FORWARD[config.gated] if part == "ffn" else _ATTENTIONS[part]
            names.update({f"{ours}.{mine}": f"{theirs}.{other}" for mine, other in layers.items()})
    return entries(config, names)


def _copies(config: CoreConfig) -> dict[str, str]:
    names = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]
    return dict.fromkeys([*names, HEAD] if config.tied else names, "shared.weight")


T5 = Family(
    name="t5",
    read=_read,
    write=_write,
    table=_table,
    copies=_copies,
    settle=_settle,
    # Cross-attention has no bias: the first files carry one that nothing reads.
    ignored=(".EncDecAttention.relative_attention_bias.weight",),
)

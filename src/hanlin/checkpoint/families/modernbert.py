"""ModernBERT (arXiv 2412.13663) as `transformers` stores it: rotary, gated, pre-norm, sliding layers between full ones."""

from collections.abc import Iterator
from typing import Any

from hanlin.checkpoint.families.patterns import read_patterns, write_patterns
from hanlin.checkpoint.families.task import read_task, write_task
from hanlin.checkpoint.family import ACTIVATIONS, Family, require, spelled
from hanlin.checkpoint.keys import Entry, entries
from hanlin.model.config import CoreConfig

_POOLINGS = {"cls": "first", "mean": "mean"}
_NAMES = {
    "embed.token": "model.embeddings.tok_embeddings",
    "embed.norm": "model.embeddings.norm",
    "blocks.*.attention_norm": "model.layers.*.attn_norm",
    "blocks.*.attention.query": "model.layers.*.attn.Wqkv",
    "blocks.*.attention.key": "model.layers.*.attn.Wqkv",
    "blocks.*.attention.value": "model.layers.*.attn.Wqkv",
    "blocks.*.attention.output": "model.layers.*.attn.Wo",
    "blocks.*.ffn_norm": "model.layers.*.mlp_norm",
    "blocks.*.ffn.gate": "model.layers.*.mlp.Wi",
    "blocks.*.ffn.up": "model.layers.*.mlp.Wi",
    "blocks.*.ffn.down": "model.layers.*.mlp.Wo",
    "norm": "model.final_norm",
    "transform.dense": "head.dense",
    "transform.norm": "head.norm",
    "pooler.dense": "head.dense",
    "pooler.norm": "head.norm",
}
_LABELLED = ("classify", "regress", "tag", "span")


def _read(config: dict[str, Any]) -> CoreConfig:
    activation = config.get("hidden_activation", "gelu")
    require(config, "hidden_activation", *ACTIVATIONS)
    require({"classifier_activation": "gelu", **config}, "classifier_activation", activation)
    require({"classifier_bias": False, **config}, "classifier_bias", config.get("mlp_bias", False))
    require(config, "classifier_pooling", *_POOLINGS)
    task = read_task(config, "ModernBert")
    whole, local = _thetas(config)
    patterns = read_patterns(_kinds(config), config.get("local_attention", 128) // 2 + 1)
    differ = "sliding" in patterns["attention"] and local != whole
    return CoreConfig.model_validate({
        "assembly": "encoder",
        "position": "rotary",
        "norm": "layer",
        "norm_bias": config.get("norm_bias", False),
        "embedding_norm": True,
        "gated": True,
        **task,
        "pooling": _POOLINGS[config.get("classifier_pooling", "cls")],
        "pooler": "transform" if task["head"] in _LABELLED else "none",
        "vocab_size": config["vocab_size"],
        "width": config["hidden_size"],
        "layers": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
        "ffn_width": config["intermediate_size"],
        "window": config["max_position_embeddings"],
        "rope_theta": whole,
        "rope_theta_local": local if differ else None,
        **patterns,
        "norm_eps": config.get("norm_eps", 1e-5),
        "activation": ACTIVATIONS[activation],
        "bias": config.get("attention_bias", False),
        "ffn_bias": config.get("mlp_bias", False),
        "head_bias": config.get("decoder_bias", True),
        "tied": config.get("tie_word_embeddings", True),
        "dropout": config.get("mlp_dropout", 0.0),
        "attention_dropout": config.get("attention_dropout", 0.0),
    })  # fmt: skip


def _kinds(config: dict[str, Any]) -> list[str]:
    """The kind of every layer; older files only say how often one is full."""
    every = config.get("global_attn_every_n_layers", 3)
    kinds: list[str] = config.get("layer_types") or [
        "sliding_attention" if layer % every else "full_attention"
        for layer in range(config["num_hidden_layers"])
    ]
    return kinds


def _thetas(config: dict[str, Any]) -> tuple[float, float]:
    """The bases of full and of sliding layers, where newer or older files have them."""
    rope = config.get("rope_parameters") or {}
    found = []
    for kind, old, usual in (
        ("full_attention", "global_rope_theta", 160000.0),
        ("sliding_attention", "local_rope_theta", 10000.0),
    ):
        values = rope.get(kind) or {}
        require(values, "rope_type", "default")
        found.append(float(values.get("rope_theta", config.get(old, usual))))
    require(config, "rope_scaling", None)
    return found[0], found[1]


def _write(config: CoreConfig) -> dict[str, Any]:
    local = config.rope_theta if config.rope_theta_local is None else config.rope_theta_local
    thetas = {"full_attention": config.rope_theta, "sliding_attention": local}
    return {
        **write_task(config, "ModernBert"),
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.ffn_width,
        "max_position_embeddings": config.window,
        "layer_types": write_patterns(config),
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": theta} for kind, theta in thetas.items()
        },
        "global_rope_theta": config.rope_theta,
        "local_rope_theta": local,
        "local_attention": 2 * ((config.attention_window or config.window) - 1),
        "norm_eps": config.norm_eps,
        "norm_bias": config.norm_bias,
        "hidden_activation": spelled(ACTIVATIONS, config.activation),
        "classifier_activation": spelled(ACTIVATIONS, config.activation),
        "classifier_pooling": spelled(_POOLINGS, config.pooling),
        "attention_bias": config.qkv_bias,
        "mlp_bias": config.ffn_bias,
        "classifier_bias": config.ffn_bias,
        "decoder_bias": config.head_bias,
        "tie_word_embeddings": config.tied,
        "embedding_dropout": config.dropout,
        "mlp_dropout": config.dropout,
        "classifier_dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
    }


def _table(config: CoreConfig) -> Iterator[Entry]:
    return entries(config, {**_NAMES, "head": "decoder" if config.head == "masked" else "classifier"})


def _copies(config: CoreConfig) -> dict[str, str]:
    tied = config.tied and config.head == "masked"
    return {"decoder.weight": "model.embeddings.tok_embeddings.weight"} if tied else {}


MODERNBERT = Family(
    name="modernbert",
    read=_read,
    write=_write,
    table=_table,
    copies=_copies,
    prefix="model.",
    outside=("head.", "decoder.", "classifier."),
)

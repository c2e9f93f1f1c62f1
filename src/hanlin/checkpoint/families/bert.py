"""BERT (arXiv 1810.04805) as `transformers` stores it: BertModel and the classes with its heads."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from hanlin.checkpoint.families.task import CLASSES, read_task, write_task
from hanlin.checkpoint.family import ACTIVATIONS, Family, require, spelled
from hanlin.checkpoint.keys import Entry, entries
from hanlin.model.config import CoreConfig
from hanlin.model.heads import OVER_VOCABULARY

NAMES = {
    "embed.token": "bert.embeddings.word_embeddings",
    "embed.position": "bert.embeddings.position_embeddings",
    "embed.segment": "bert.embeddings.token_type_embeddings",
    "embed.norm": "bert.embeddings.LayerNorm",
    "blocks.*.attention.query": "bert.encoder.layer.*.attention.self.query",
    "blocks.*.attention.key": "bert.encoder.layer.*.attention.self.key",
    "blocks.*.attention.value": "bert.encoder.layer.*.attention.self.value",
    "blocks.*.attention.output": "bert.encoder.layer.*.attention.output.dense",
    "blocks.*.attention_norm": "bert.encoder.layer.*.attention.output.LayerNorm",
    "blocks.*.ffn.up": "bert.encoder.layer.*.intermediate.dense",
    "blocks.*.ffn.down": "bert.encoder.layer.*.output.dense",
    "blocks.*.ffn_norm": "bert.encoder.layer.*.output.LayerNorm",
    "pooler.dense": "bert.pooler.dense",
    "transform.dense": "cls.predictions.transform.dense",
    "transform.norm": "cls.predictions.transform.LayerNorm",
    "next_sentence": "cls.seq_relationship",
    "head": "classifier",
}

OLD_NAMES = {".LayerNorm.gamma": ".LayerNorm.weight", ".LayerNorm.beta": ".LayerNorm.bias"}
"""What checkpoints that were converted from TensorFlow call the values of a LayerNorm."""

_CLASSES = {**CLASSES, "ForPreTraining": "pretraining"}


def read_shape(config: dict[str, Any]) -> dict[str, Any]:
    """The settings that BERT and RoBERTa write alike; the window is that of the table of positions."""
    require(config, "hidden_act", *ACTIVATIONS)
    require(config, "position_embedding_type", "absolute")
    require(config, "is_decoder", False)
    require(config, "add_cross_attention", False)
    return {
        "style": "bert",
        "vocab_size": config["vocab_size"],
        "width": config["hidden_size"],
        "layers": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
        "ffn_width": config["intermediate_size"],
        "window": config["max_position_embeddings"],
        "segments": config["type_vocab_size"],
        "norm_eps": config.get("layer_norm_eps", 1e-12),
        "activation": ACTIVATIONS[config.get("hidden_act", "gelu")],
        "tied": config.get("tie_word_embeddings", True),
        "dropout": config.get("hidden_dropout_prob", 0.1),
        "attention_dropout": config.get("attention_probs_dropout_prob", 0.1),
    }


def write_shape(config: CoreConfig) -> dict[str, Any]:
    """The same for config.json; these families always have segments."""
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.ffn_width,
        "max_position_embeddings": config.window,
        "type_vocab_size": config.segments or 1,
        "layer_norm_eps": config.norm_eps,
        "hidden_act": spelled(ACTIVATIONS, config.activation),
        "tie_word_embeddings": config.tied,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.attention_dropout,
    }


def table(config: CoreConfig, names: Mapping[str, str], head: str) -> Iterator[Entry]:
    """Every tensor. `transformers` keeps the bias of the output over the vocabulary under two names, of which an
    untied head uses the second and a tied one shares both."""
    if config.head not in OVER_VOCABULARY:
        yield from entries(config, {**names, "head": "qa_outputs"} if config.head == "span" else names)
    elif config.tied:
        yield from entries(config, {**names, "head": head})
    else:
        yield Entry(f"{head}.bias", ("head.bias",), "copy")
        yield from entries(config, {**names, "head": f"{head}.decoder"})


def head_copies(config: CoreConfig, names: Mapping[str, str], head: str) -> dict[str, str]:
    """What files may repeat of a tied output over the vocabulary."""
    if not config.tied or config.head not in OVER_VOCABULARY:
        return {}
    embedding = f"{names['embed.token']}.weight"
    return {f"{head}.decoder.weight": embedding, f"{head}.decoder.bias": f"{head}.bias"}


def with_pooler_of(config: CoreConfig, names: Collection[str], pooler: str) -> CoreConfig:
    """A bare model has a pooler exactly if its weights have one: config.json does not say."""
    if config.head != "none":
        return config
    return config.model_copy(update={"pooler": "tanh" if pooler in names else "none"})


def _read(config: dict[str, Any]) -> CoreConfig:
    return CoreConfig.model_validate({**read_shape(config), **read_task(config, "Bert", _CLASSES)})


def _write(config: CoreConfig) -> dict[str, Any]:
    return {**write_task(config, "Bert", _CLASSES), **write_shape(config)}


def _settle(config: CoreConfig, names: Collection[str]) -> CoreConfig:
    """Checkpoints that call themselves BertForMaskedLM often hold both pre-training heads: none is thrown away."""
    if config.head == "masked" and "cls.seq_relationship.weight" in names:
        return config.model_copy(update={"head": "pretraining", "pooler": "tanh"})
    return with_pooler_of(config, names, "bert.pooler.dense.weight")


BERT = Family(
    name="bert",
    read=_read,
    write=_write,
    table=lambda config: table(config, NAMES, "cls.predictions"),
    settle=_settle,
    copies=lambda config: head_copies(config, NAMES, "cls.predictions"),
    prefix="bert.",
    outside=("cls.", "classifier.", "qa_outputs."),
    ignored=("embeddings.position_ids", "embeddings.token_type_ids"),
    renamed=OLD_NAMES,
    unused=lambda config: ("bert.pooler.",) if config.head in ("masked", "tag", "span") else (),
)

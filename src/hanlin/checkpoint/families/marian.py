"""The Transformer of 2017 (arXiv 1706.03762), as Marian trains it and `transformers` stores it: MarianMTModel."""

from typing import Any

from hanlin.checkpoint.families.bart import (
    LOGITS_BIAS,
    read_stacks,
    settle_bias,
    shared_copies,
    stacks_table,
    write_stacks,
)
from hanlin.checkpoint.family import Family, require
from hanlin.model.config import CoreConfig


def _read(config: dict[str, Any]) -> CoreConfig:
    require(config, "normalize_embedding", False)
    require(config, "static_position_embeddings", True)
    require(config, "share_encoder_decoder_embeddings", True)
    require(config, "decoder_vocab_size", config["vocab_size"])
    return read_stacks(config, position="sinusoidal", position_pairs="halves")


def _write(config: CoreConfig) -> dict[str, Any]:
    return {
        "architectures": ["MarianMTModel"],
        **write_stacks(config),
        "decoder_vocab_size": config.vocab_size,
        "share_encoder_decoder_embeddings": True,
        "static_position_embeddings": True,
    }


MARIAN = Family(
    name="marian",
    read=_read,
    write=_write,
    table=stacks_table,
    copies=shared_copies,
    settle=settle_bias,
    prefix="model.",
    outside=("lm_head.", LOGITS_BIAS),
    ignored=(".embed_positions.weight",),
)

"""RoBERTa (arXiv 1907.11692) as `transformers` stores it: BERT with other heads, and positions after the padding id."""

from collections.abc import Collection, Iterator
from typing import Any

from hanlin.checkpoint.families.bert import (
    NAMES,
    OLD_NAMES,
    head_copies,
    read_shape,
    table,
    with_pooler_of,
    write_shape,
)
from hanlin.checkpoint.families.task import read_task, write_task
from hanlin.checkpoint.family import Family, require
from hanlin.checkpoint.keys import Entry
from hanlin.model.config import CoreConfig

_NAMES = {
    **{ours: theirs.replace("bert.", "roberta.", 1) for ours, theirs in NAMES.items()},
    "transform.dense": "lm_head.dense",
    "transform.norm": "lm_head.layer_norm",
}
_JUDGES = {"pooler.dense": "classifier.dense", "head": "classifier.out_proj"}


def _read(config: dict[str, Any]) -> CoreConfig:
    task = read_task(config, "Roberta")
    if task["head"] == "masked":
        require(config, "hidden_act", "gelu")  # the transform's is written into the code
    offset = config.get("pad_token_id", 1) + 1
    shape = read_shape(config)
    return CoreConfig.model_validate(
        {**shape, **task, "window": shape["window"] - offset, "position_offset": offset}
    )


def _write(config: CoreConfig) -> dict[str, Any]:
    return {
        **write_task(config, "Roberta"),
        **write_shape(config),
        "max_position_embeddings": config.window + config.position_offset,
        "pad_token_id": max(0, config.position_offset - 1),  # at offset 0 it would read back as another
    }


def _table(config: CoreConfig) -> Iterator[Entry]:
    """A head that judges whole texts has a pooler of its own."""
    judges = config.head in ("classify", "regress")
    return table(config, {**_NAMES, **_JUDGES} if judges else _NAMES, "lm_head")


def _settle(config: CoreConfig, names: Collection[str]) -> CoreConfig:
    return with_pooler_of(config, names, "roberta.pooler.dense.weight")


ROBERTA = Family(
    name="roberta",
    read=_read,
    write=_write,
    table=_table,
    settle=_settle,
    copies=lambda config: head_copies(config, _NAMES, "lm_head"),
    prefix="roberta.",
    outside=("lm_head.", "classifier.", "qa_outputs."),
    ignored=("embeddings.position_ids", "embeddings.token_type_ids"),
    renamed=OLD_NAMES,
    unused=lambda config: ("roberta.pooler.",) if config.head != "none" else (),
)

"""Our own names and settings, for a model that no family of the ecosystem can express."""

from collections.abc import Iterator
from typing import Any

from hanlin.checkpoint.family import Family
from hanlin.checkpoint.keys import Entry
from hanlin.model.assemble import build_outline
from hanlin.model.config import CoreConfig


def _read(config: dict[str, Any]) -> CoreConfig:
    return CoreConfig.model_validate(config["core"])


def _write(config: CoreConfig) -> dict[str, Any]:
    assembly = {"decoder": "HanlinDecoder", "encoder": "HanlinEncoder", "seq2seq": "HanlinSeq2Seq"}
    return {"architectures": [assembly[config.assembly]], "core": config.model_dump(mode="json")}


def _table(config: CoreConfig) -> Iterator[Entry]:
    return (Entry(name, (name,)) for name, _ in build_outline(config).named_parameters())


NATIVE = Family(name="hanlin", read=_read, write=_write, table=_table)

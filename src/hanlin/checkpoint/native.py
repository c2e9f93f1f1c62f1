"""Our own names and settings, for a model that no family of the ecosystem can express."""

from collections.abc import Iterator
from typing import Any

import torch

from hanlin.checkpoint.family import Family
from hanlin.checkpoint.keys import Entry
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder


def _read(config: dict[str, Any]) -> CoreConfig:
    return CoreConfig.model_validate(config["core"])


def _write(config: CoreConfig) -> dict[str, Any]:
    return {"core": config.model_dump()}


def _table(config: CoreConfig) -> Iterator[Entry]:
    with torch.device("meta"):
        names = [name for name, _ in Decoder(config).named_parameters()]
    return (Entry(name, (name,)) for name in names)


NATIVE = Family(name="hanlin", architecture="HanlinDecoder", read=_read, write=_write, table=_table)

"""What a family of checkpoints is to us: a map of its config.json and a table of its tensors."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text
from hanlin.checkpoint.keys import Entry
from hanlin.model.config import CoreConfig


@dataclass(frozen=True)
class Family:
    """One file per family fills this in.

    read: config.json -> CoreConfig; raises `CheckpointError` for a setting that our core does not have.
    write: CoreConfig -> config.json, or None where the family can not express it.
    table: every tensor of a model with this config.
    ignored: endings of tensor names that hold no weights (masks and tables that old checkpoints carry).
    """

    name: str
    architecture: str
    read: Callable[[dict[str, Any]], CoreConfig]
    write: Callable[[CoreConfig], dict[str, Any] | None]
    table: Callable[[CoreConfig], Iterable[Entry]]
    prefix: str = ""
    ignored: tuple[str, ...] = ()


def require(config: dict[str, Any], key: str, *allowed: Any) -> None:
    """Raise `CheckpointError` unless config.json has one of the allowed values (or lacks the key)."""
    value = config.get(key, allowed[0])
    if value not in allowed:
        raise CheckpointError(
            Text(
                f"config.json sets {key} to {value!r}; only {', '.join(map(repr, allowed))} can be opened.",
                f"config.json 将 {key} 设为 {value!r}；目前只能打开 {'、'.join(map(repr, allowed))}。",
            ),
            Text("Use another checkpoint.", "请换用其他检查点。"),
        )

"""What a family of checkpoints is to us: a map of its config.json and a table of its tensors."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text
from hanlin.checkpoint.keys import Entry
from hanlin.model.config import CoreConfig

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
"""What families call an activation, and what we do."""


def no_copies(config: CoreConfig) -> dict[str, str]:
    """For a family whose files hold each tensor once."""
    return {}


def tied_head(embedding: str) -> Callable[[CoreConfig], dict[str, str]]:
    """For a family whose only copy is `lm_head.weight`, which may repeat a tied embedding."""
    return lambda config: {"lm_head.weight": embedding} if config.tied else {}


def as_read(config: CoreConfig, names: Collection[str]) -> CoreConfig:
    """For a family whose config.json says everything."""
    return config


@dataclass(frozen=True)
class Family:
    """One file per family fills this in.

    name: `model_type` in config.json.
    read: config.json -> CoreConfig; raises `CheckpointError` for a setting that our core does not have.
    write: CoreConfig -> config.json (with `architectures`); what the family can not express is left out, so that
        `express` finds it out by reading it back.
    table: every tensor of a model with this config, once.
    copies: tensors that files may hold besides, which must equal another one: their name -> that one's.
    ignored: endings of tensor names that hold no weights (masks and tables that old checkpoints carry).
    renamed: endings of tensor names in old checkpoints -> today's.
    unused: beginnings of tensor names that files may hold but a model with this config does not use; opening says so.
    settle: what only the names of the tensors tell, such as whether a bare model has a pooler.
    prefix: what a bare model's files leave out before every name but those in `outside`.
    """

    name: str
    read: Callable[[dict[str, Any]], CoreConfig]
    write: Callable[[CoreConfig], dict[str, Any]]
    table: Callable[[CoreConfig], Iterable[Entry]]
    copies: Callable[[CoreConfig], Mapping[str, str]] = no_copies
    prefix: str = ""
    outside: tuple[str, ...] = ("lm_head.",)
    ignored: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    unused: Callable[[CoreConfig], tuple[str, ...]] = lambda config: ()
    settle: Callable[[CoreConfig, Collection[str]], CoreConfig] = as_read


def express(config: CoreConfig, family: Family) -> dict[str, Any] | None:
    """The config.json of `config` in this family, or None where reading it back would give another model."""
    try:
        values = family.write(config)
        found = family.read(values)
        if family.settle is not as_read:
            found = family.settle(found, {entry.theirs for entry in family.table(config)})
        return values if found == config else None
    except (CheckpointError, LookupError, ValueError, ArithmeticError):
        return None


def spelled(names: Mapping[str, str], ours: str) -> str:
    """The family's first word for a value of ours; `LookupError` where it has none."""
    for theirs, value in names.items():
        if value == ours:
            return theirs
    raise LookupError(ours)


def require(config: Mapping[str, Any], key: str, *allowed: Any) -> None:
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

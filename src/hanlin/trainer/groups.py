"""Which parameters are frozen, and at which rate and decay each of the others learns."""

import difflib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.trainer.config import TrainingConfig

_BLOCK = re.compile(r"(?:^|\.)blocks\.(\d+)\.")


@dataclass(frozen=True)
class Learning:
    """How one parameter learns: a factor on the learning rate, its weight decay, whether Muon may update it."""

    rate: float
    decay: float
    matrix: bool


def freeze(model: nn.Module, patterns: Iterable[str]) -> None:
    """Take every parameter whose name matches a pattern out of training; `ConfigError` if nothing is left of it."""
    names = [name for name, _ in model.named_parameters()]
    for pattern in patterns:
        chosen = set(_matches(pattern, names, "frozen"))
        for name, parameter in model.named_parameters():
            if name in chosen:
                parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(
            Text("frozen: no parameter is left to train.", "frozen：没有剩下可训练的参数。"),
            Text("Freeze fewer.", "请少冻结一些。"),
        )


def learnings(model: nn.Module, config: TrainingConfig) -> dict[str, Learning]:
    """For each parameter that is trained, by name, how it learns.

    Decay is for the matrices of the blocks; norms, biases, embeddings and heads have none. With `layer_decay` d the
    rate falls by d from each block to the one before, and once more to the embeddings (discriminative fine-tuning,
    arXiv 1801.06146, section 3.2). Then the first of `groups` that matches has its say.
    """
    tables = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    plain = {}
    for name, parameter in trained.items():
        matrix = _BLOCK.search(name) is not None and parameter.dim() == 2 and id(parameter) not in tables
        plain[name] = Learning(1.0, config.weight_decay if matrix else 0.0, matrix)
    if config.layer_decay is not None:
        depths = _depths(plain)
        deepest = max(depths.values())
        plain = {
            name: Learning(config.layer_decay ** (deepest - depths[name]), one.decay, one.matrix)
            for name, one in plain.items()
        }
    return _grouped(plain, config)


def _grouped(plain: dict[str, Learning], config: TrainingConfig) -> dict[str, Learning]:
    left = dict(plain)
    result = dict(plain)
    for group in config.groups:
        for name in _matches(group.match, left, "groups", plain):
            one = left.pop(name)
            decay = one.decay if group.decay is None else group.decay
            result[name] = Learning(one.rate * group.rate, decay, one.matrix)
    return result


def _depths(names: Iterable[str]) -> dict[str, int]:
    """Layers below each parameter: 0 for embeddings, n for block n - 1, the most for what comes after the blocks."""
    blocks = {name: int(found[1]) for name in names if (found := _BLOCK.search(name))}
    last = max(blocks.values(), default=-1) + 2
    return {
        name: blocks[name] + 1 if name in blocks else 0 if "embed" in name.split(".") else last
        for name in names
    }


def _matches(
    pattern: str, names: Collection[str], setting: str, every: Collection[str] | None = None
) -> list[str]:
    """The names that match a shell pattern; `ConfigError` naming near names, or what had taken them, if there are none."""
    found = [name for name in names if fnmatchcase(name, pattern)]
    if found:
        return found
    taken = [name for name in every or () if fnmatchcase(name, pattern)]
    if taken:
        raise ConfigError(
            Text(f"{setting}: all that {pattern!r} matches belongs to groups before it.",
                 f"{setting}：{pattern!r} 匹配的参数都已属于前面的组。"),
            Text("Put the narrower pattern first.", "请把范围较小的模式放在前面。"),
        )  # fmt: skip
    near = ", ".join(_near(pattern, every or names))
    raise ConfigError(
        Text(f"{setting}: no parameter that is trained matches {pattern!r}.",
             f"{setting}：没有可训练的参数与 {pattern!r} 匹配。"),
        Text(f"Near names: {near}. `*` stands for anything.", f"相近的名称：{near}。`*` 代表任意内容。"),
    )  # fmt: skip


def _near(pattern: str, names: Collection[str]) -> list[str]:
    """Beginnings of names, and names, that resemble the pattern; the first words of all names if none does."""
    beginnings = {
        ".".join(name.split(".")[:size]) for name in names for size in range(1, name.count(".") + 2)
    }
    bare = pattern.replace("*", "").strip(".")
    return difflib.get_close_matches(bare, sorted(beginnings), n=4) or sorted(
        {n.split(".")[0] for n in names}
    )

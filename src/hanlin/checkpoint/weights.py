"""Weights between a model and named tensors: everything finds its place, or opening stops."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.checkpoint.family import Family
from hanlin.checkpoint.keys import Entry, check_names, check_shape
from hanlin.checkpoint.tensor_files import NAME, TensorFiles, save_index, save_tensors
from hanlin.model import count
from hanlin.model.assemble import Model
from hanlin.model.config import CoreConfig

SHARD_BYTES = 5 * 10**9
"""Weights beyond this size are written in several files, of about this size each."""

_FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def write_weights(folder: Path, model: Model, family: Family, shard_bytes: int = SHARD_BYTES) -> None:
    """Write all parameters of `model` under the family's names, in their own dtype, shard by shard.

    A bare model's names lack the family's prefix, as the ecosystem writes them.
    """
    parameters = dict(model.named_parameters())
    table = list(family.table(model.config))
    named = {ours for entry in table for ours in entry.ours}
    assert named == parameters.keys(), f"table and model differ: {sorted(named ^ parameters.keys())}"
    shards = _shards(table, parameters, shard_bytes)
    prefix = family.prefix if model.config.head == "none" else ""
    files = {}
    for number, shard in enumerate(shards, 1):
        file = NAME if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = {
            entry.theirs.removeprefix(prefix): entry.join(
                [parameters[ours].detach().cpu() for ours in entry.ours]
            )
            for entry in shard
        }
        save_tensors(folder / file, tensors)
        files.update(dict.fromkeys(tensors, file))
    if len(shards) > 1:
        save_index(folder, files, sum(parameter.nbytes for parameter in parameters.values()))


def _shards(
    table: Sequence[Entry], parameters: Mapping[str, nn.Parameter], shard_bytes: int
) -> list[list[Entry]]:
    """The tensors in order, in groups of at most `shard_bytes`; one that is larger is a group of its own."""
    shards: list[list[Entry]] = [[]]
    filled = 0
    for entry in table:
        size = sum(parameters[ours].nbytes for ours in entry.ours)
        if shards[-1] and filled + size > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(entry)
        filled += size
    return shards


def tensor_names(folder: Path, family: Family) -> set[str]:
    """The family's full names of the tensors in `folder`, which are not read."""
    return set(_full_names(TensorFiles(folder), family))


def check_size(config: CoreConfig, tensors: "TensorSource", where: str) -> None:
    """Raise `CheckpointError` for settings of a model far larger than its weights, before it takes memory or time."""
    held = [math.prod(tensors.shape(name)) for name in tensors]
    deep = max(config.layers, config.cached_layers) > len(held)
    if deep or count.parameters(config) > 2 * sum(held):
        size = f"{config.layers:,} layers" if deep else f"{count.parameters(config):,} parameters"
        size_zh = f"{config.layers:,} 层" if deep else f"{count.parameters(config):,} 个参数"
        raise CheckpointError(
            Text(f"config.json describes a model of {size}; the weights in {where} are {len(held)} tensors of "
                 f"{sum(held):,} values.",
                 f"config.json 描述的模型有 {size_zh}，而 {where} 中的权重只有 {len(held)} 个张量、{sum(held):,} 个数值。"),
            Text("Use the config.json that belongs to these weights.", "请使用与这些权重配套的 config.json。"),
        )  # fmt: skip


def read_weights(folder: Path, model: Model, family: Family) -> None:
    """Give `model`, which has memory but no values yet, the weights in `folder`.

    On a CPU a tensor that is stored as we have it is mapped, not copied: memory is taken once, and only when
    it is used. All others are copied piece by piece. Raises `CheckpointError` for files that are missing, cut
    short or pickled, and for tensors that are unknown, missing, misshapen or no plain numbers.
    """
    fill_model(model, family, TensorFiles(folder), str(folder))


def fill_model(model: Model, family: Family, tensors: "TensorSource", where: str) -> None:
    """Give every parameter of `model` its value from `tensors`, which has the family's names."""
    parameters = dict(model.named_parameters())
    for entry, name in match_tensors(model, family, tensors, where):
        _fill(entry, [parameters[ours] for ours in entry.ours], tensors, name)


def match_tensors(
    model: Model, family: Family, tensors: "TensorSource", where: str
) -> list[tuple[Entry, str]]:
    """What each tensor holds of `model`, and its name in the file; raises `CheckpointError` where they do not fit."""
    parameters = dict(model.named_parameters())
    table = list(family.table(model.config))
    copies = family.copies(model.config)
    names = _without_unused(_full_names(tensors, family), family.unused(model.config), where)
    check_names(names.keys() - copies.keys(), table, where)
    for entry in table:
        shapes = [parameters[name].shape for name in entry.ours]
        check_shape(entry, tensors.shape(names[entry.theirs]), shapes, where)
        _check_dtype(entry.theirs, tensors.dtype(names[entry.theirs]), where)
    _check_copies(tensors, names, copies, where)
    return [(entry, names[entry.theirs]) for entry in table]


@torch.no_grad()
def _fill(entry: Entry, parameters: list[nn.Parameter], tensors: "TensorSource", name: str) -> None:
    """One tensor: taken over as it is, copied in pieces, or, where it is fused, divided."""
    first = parameters[0]
    alone = len(parameters) == 1 and entry.layout != "row"
    if alone and entry.layout == "same" and (tensors.dtype(name), first.device.type) == (first.dtype, "cpu"):
        first.data = tensors.load(name)
    elif alone:
        place, start = first.t() if entry.layout == "transposed" else first, 0
        for piece in tensors.pieces(name):
            place[start : start + len(piece)].copy_(piece)
            start += len(piece)
    else:
        _fill_parts(entry, parameters, tensors.pieces(name))


def _fill_parts(entry: Entry, parameters: list[nn.Parameter], pieces: Iterator[Tensor]) -> None:
    """Each parameter takes its rows of every piece, of the turned piece where it is stored transposed."""
    if entry.layout == "row":
        pieces = (piece.squeeze(0) for piece in pieces)
    start = 0
    for piece in pieces:
        first = 0
        for parameter in parameters:
            if entry.layout == "transposed":
                parameter.t()[start : start + len(piece)].copy_(piece[:, first : first + len(parameter)])
            else:
                low = max(start, first)
                high = max(low, min(start + len(piece), first + len(parameter)))
                parameter[low - first : high - first].copy_(piece[low - start : high - start])
            first += len(parameter)
        start += len(piece)


def _check_dtype(name: str, dtype: torch.dtype, where: str) -> None:
    if dtype not in _FLOATS:
        kind = str(dtype).removeprefix("torch.")
        known = [str(dtype).removeprefix("torch.") for dtype in _FLOATS]
        raise CheckpointError(
            Text(f"{where}: {name} is stored as {kind}, which is no plain number.",
                 f"{where}：{name} 以 {kind} 存储，不是普通数值。"),
            Text(f"Use weights in {', '.join(known)}.", f"请使用 {'、'.join(known)} 格式的权重。"),
        )  # fmt: skip


def _check_copies(
    tensors: "TensorSource", names: Mapping[str, str], copies: Mapping[str, str], where: str
) -> None:
    """A tensor that repeats another must equal it: silently dropping another one would change the model."""
    for copy, original in copies.items():
        if copy in names and not _equal(tensors, names[copy], names[original]):
            raise CheckpointError(
                Text(f"{where}: config.json says that {copy} shares the weights of {original}, but they differ.",
                     f"{where}：config.json 声明 {copy} 与 {original} 共享权重，但两者不同。"),
                Text("Set tie_word_embeddings to false in config.json if both are meant.",
                     "如果两者都需要，请在 config.json 中将 tie_word_embeddings 设为 false。"),
            )  # fmt: skip


def _equal(tensors: "TensorSource", one: str, other: str) -> bool:
    if tensors.shape(one) != tensors.shape(other) or tensors.dtype(one) != tensors.dtype(other):
        return False
    return all(torch.equal(*pair) for pair in zip(tensors.pieces(one), tensors.pieces(other), strict=True))


class TensorSource(Protocol):
    """Named tensors that are read one at a time."""

    def __iter__(self) -> Iterator[str]: ...

    def shape(self, name: str) -> list[int]:
        """Shape of one tensor, without reading it."""

    def dtype(self, name: str) -> torch.dtype:
        """Number format of one tensor, without reading it."""

    def load(self, name: str) -> Tensor:
        """One tensor, on the CPU and contiguous; whoever calls may keep and change it."""

    def pieces(self, name: str) -> Iterator[Tensor]:
        """The same tensor in pieces along its first axis, for copying."""


class HeldTensors:
    """The parameters of a model in memory under its family's names, joined one at a time."""

    def __init__(self, model: Model, family: Family) -> None:
        self._parameters = {name: value.detach() for name, value in model.named_parameters()}
        self._entries = {entry.theirs: entry for entry in family.table(model.config)}

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def shape(self, name: str) -> list[int]:
        """Shape of one tensor."""
        entry = self._entries[name]
        return list(entry.shape([self._parameters[ours].shape for ours in entry.ours]))

    def dtype(self, name: str) -> torch.dtype:
        """Number format of one tensor."""
        return self._parameters[self._entries[name].ours[0]].dtype

    def load(self, name: str) -> Tensor:
        """One tensor on the CPU."""
        entry = self._entries[name]
        return entry.join([self._parameters[ours].cpu() for ours in entry.ours])

    def pieces(self, name: str) -> Iterator[Tensor]:
        """The same tensor, whole."""
        yield self.load(name)


def _without_unused(names: dict[str, str], unused: tuple[str, ...], where: str) -> dict[str, str]:
    """Drop the tensors that this model does not use, and say so."""
    dropped = [name for name in names if name.startswith(unused)]
    if dropped:
        listed = ", ".join(dropped)
        console.print(
            str(Text(f"{where}: not used by this model: {listed}", f"{where}：该模型用不到：{listed}")),
            markup=False,
        )
    return {name: stored for name, stored in names.items() if name not in dropped}


def _full_names(tensors: TensorSource, family: Family) -> dict[str, str]:
    """The family's full name -> the name in the file.

    Old checkpoints leave out the prefix and carry tables that are not weights.
    """
    names = {}
    bare = not any(name.startswith(family.prefix) for name in tensors)
    for name in tensors:
        if name.endswith(family.ignored or ("\0",)):
            continue
        full = family.prefix + name if bare and not name.startswith(family.outside) else name
        for old, new in family.renamed.items():
            if full.endswith(old):
                full = full.removesuffix(old) + new
        names[full] = name
    return names

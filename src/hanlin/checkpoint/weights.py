"""Weights on disk: safetensors, memory-mapped, one tensor at a time."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hanlin.base.errors import CheckpointError
from hanlin.base.files import disk_errors
from hanlin.base.language import Text
from hanlin.checkpoint.family import Family
from hanlin.checkpoint.keys import check_names, check_shape, to_family
from hanlin.model.assemble import Model

NAME = "model.safetensors"
INDEX = "model.safetensors.index.json"


def write_weights(folder: Path, model: Model, family: Family) -> None:
    """Write all parameters of `model` under the family's names, in their own dtype."""
    tensors = {name: parameter.detach().cpu() for name, parameter in model.named_parameters()}
    save_tensors(folder / NAME, to_family(tensors, family.table(model.config)))


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file; raise `DiskError` when the disk is full or unwritable."""
    with disk_errors(path):
        try:
            save_file(dict(tensors), path, metadata={"format": "pt"})
        except SafetensorError as error:
            # The library wraps what the system said in an error of its own, as text.
            number = re.search(r"\(os error (\d+)\)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def read_weights(folder: Path, model: Model, family: Family) -> None:
    """Copy the weights in `folder` into `model`, which has memory but no values yet.

    On a CPU a tensor that is stored as we have it is mapped, not copied: memory is taken once, and only when
    it is used. Raises `CheckpointError` for files that are missing, cut short or pickled, and for tensors that
    are unknown, missing or misshapen.
    """
    with ExitStack() as stack:
        fill_model(model, family, _Tensors(folder, stack), str(folder))


def fill_model(model: Model, family: Family, tensors: "TensorSource", where: str) -> None:
    """Give every parameter of `model` its value from `tensors`, which has the family's names."""
    parameters = dict(model.named_parameters())
    table = list(family.table(model.config))
    copies = family.copies(model.config)
    names = _full_names(tensors, family)
    check_names(names.keys() - copies.keys(), table, where)
    _check_copies(tensors, names, copies, where)
    for entry in table:
        slices = [parameters[name] for name in entry.ours]
        shapes = [parameter.shape for parameter in slices]
        check_shape(entry, tensors.shape(names[entry.theirs]), shapes, where)
        _set(slices, entry.divide(tensors.load(names[entry.theirs]), shapes))


def _set(parameters: list[torch.nn.Parameter], values: list[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        if (
            len(values) == 1
            and value.is_contiguous()
            and (value.dtype, value.device)
            == (
                parameter.dtype,
                parameter.device,
            )
        ):
            parameter.data = value
        else:
            with torch.no_grad():
                parameter.copy_(value)


def _check_copies(
    tensors: "TensorSource", names: Mapping[str, str], copies: Mapping[str, str], where: str
) -> None:
    """A tensor that repeats another must equal it: silently dropping another one would change the model."""
    for copy, original in copies.items():
        if copy in names and not torch.equal(tensors.load(names[copy]), tensors.load(names[original])):
            raise CheckpointError(
                Text(f"{where}: config.json says that {copy} shares the weights of {original}, but they differ.",
                     f"{where}：config.json 声明 {copy} 与 {original} 共享权重，但两者不同。"),
                Text("Set tie_word_embeddings to false in config.json if both are meant.",
                     "如果两者都需要，请在 config.json 中将 tie_word_embeddings 设为 false。"),
            )  # fmt: skip


class TensorSource(Protocol):
    """Named tensors that are read one at a time."""

    def __iter__(self) -> Iterator[str]: ...

    def shape(self, name: str) -> list[int]:
        """Shape of one tensor, without reading it."""

    def load(self, name: str) -> Tensor:
        """Read one tensor."""


class _Tensors:
    """The tensors of one folder, over all its shards, opened but not read."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._file: dict[str, safe_open] = {}
        for path in _shards(folder):
            try:
                opened = stack.enter_context(safe_open(path, framework="pt"))
            except (SafetensorError, OSError) as error:
                raise CheckpointError(
                    Text(f"{path} cannot be opened: {error}", f"无法打开 {path}：{error}"),
                    Text(
                        "The file is missing or cut short: copy it again.", "文件缺失或不完整：请重新复制。"
                    ),
                ) from error
            self._file.update(dict.fromkeys(opened.keys(), opened))

    def __iter__(self) -> Iterator[str]:
        return iter(self._file)

    def shape(self, name: str) -> list[int]:
        """Shape of one tensor, from the file's header."""
        shape: list[int] = self._file[name].get_slice(name).get_shape()  # type: ignore[no-untyped-call]
        return shape

    def load(self, name: str) -> Tensor:
        """Read one tensor."""
        tensor: Tensor = self._file[name].get_tensor(name)  # type: ignore[no-untyped-call]
        return tensor


def _shards(folder: Path) -> list[Path]:
    if (folder / NAME).is_file():
        return [folder / NAME]
    if (folder / INDEX).is_file():
        return [folder / name for name in _indexed(folder / INDEX)]
    pickled = sorted(path.name for path in folder.glob("*.bin"))
    if pickled:
        raise CheckpointError(
            Text(f"{folder} holds pickled weights ({pickled[0]}), which can run code when opened.",
                 f"{folder} 中的权重是 pickle 格式（{pickled[0]}），打开时可能执行代码。"),
            Text("Convert them where you trust them: load with transformers and call save_pretrained.",
                 "请在可信的环境中转换：用 transformers 载入后调用 save_pretrained。"),
        )  # fmt: skip
    raise CheckpointError(
        Text(f"{folder} holds no weights ({NAME}).", f"{folder} 中没有权重文件（{NAME}）。"),
        Text("Give a folder with config.json, model.safetensors and tokenizer.json.",
             "请给出包含 config.json、model.safetensors 与 tokenizer.json 的目录。"),
    )  # fmt: skip


def _indexed(path: Path) -> list[str]:
    """The names of the shards that an index lists."""
    try:
        return sorted(set(json.loads(path.read_text("utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            Text(f"{path} is damaged: {error!r}", f"{path} 已损坏：{error!r}"),
            Text("Restore it from a copy.", "请从备份恢复该文件。"),
        ) from error


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
        names[full] = name
    return names

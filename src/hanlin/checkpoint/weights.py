"""Weights on disk: safetensors, memory-mapped, one tensor at a time."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hanlin.base.errors import CheckpointError
from hanlin.base.files import disk_errors
from hanlin.base.language import Text
from hanlin.checkpoint.family import Family
from hanlin.checkpoint.keys import Entry, check_names, check_shape, to_family
from hanlin.model.decoder import Decoder

NAME = "model.safetensors"
INDEX = "model.safetensors.index.json"
HEAD = "lm_head.weight"


def write_weights(folder: Path, model: Decoder, family: Family) -> None:
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


def read_weights(folder: Path, model: Decoder, family: Family) -> None:
    """Copy the weights in `folder` into `model`, which has memory but no values yet.

    Raises `CheckpointError` for files that are missing, cut short or pickled, and for tensors that are
    unknown, missing or misshapen.
    """
    parameters = dict(model.named_parameters())
    table = list(family.table(model.config))
    with ExitStack() as stack:
        tensors = _Tensors(folder, stack)
        names = _plain_names(tensors, family, tied=model.config.tied)
        check_names(names, table, str(folder))
        if model.config.tied:
            _check_tied_head(tensors, names, table, folder)
        for entry in table:
            slices = [parameters[name] for name in entry.ours]
            shapes = [parameter.shape for parameter in slices]
            check_shape(entry, tensors.shape(names[entry.theirs]), shapes, str(folder))
            _copy(entry, tensors.load(names[entry.theirs]), slices, shapes)


def _copy(
    entry: Entry, tensor: Tensor, parameters: list[torch.nn.Parameter], shapes: list[torch.Size]
) -> None:
    with torch.no_grad():
        for parameter, part in zip(parameters, entry.divide(tensor, shapes), strict=True):
            parameter.copy_(part)


def _check_tied_head(tensors: "_Tensors", names: Mapping[str, str], table: list[Entry], folder: Path) -> None:
    """A head beside tied embeddings must repeat them: silently dropping another one would change the model."""
    embedding = next(names[entry.theirs] for entry in table if entry.ours == ("embed.token.weight",))
    if HEAD in tensors and not torch.equal(tensors.load(HEAD), tensors.load(embedding)):
        raise CheckpointError(
            Text(f"{folder}: config.json says that the head is tied to the embedding, but {HEAD} differs from it.",
                 f"{folder}：config.json 声明输出层与词嵌入共享权重，但 {HEAD} 与之不同。"),
            Text("Set tie_word_embeddings to false in config.json if the head is meant.",
                 "如果确实要用该输出层，请在 config.json 中将 tie_word_embeddings 设为 false。"),
        )  # fmt: skip


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


def _plain_names(tensors: _Tensors, family: Family, tied: bool) -> dict[str, str]:
    """The family's full name -> the name in the file.

    Old checkpoints leave out the prefix, carry tables that are not weights, or repeat a tied head.
    """
    names = {}
    bare = not any(name.startswith(family.prefix) for name in tensors)
    for name in tensors:
        if name.endswith(family.ignored or ("\0",)) or (tied and name == HEAD):
            continue
        full = family.prefix + name if bare and name != HEAD else name
        names[full] = name
    return names

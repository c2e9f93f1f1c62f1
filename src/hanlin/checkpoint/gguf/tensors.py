"""The tensors of a GGUF file under their Hugging Face names, turned into float32 one at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text
from hanlin.checkpoint.gguf.cursor import damaged
from hanlin.checkpoint.gguf.fields import other_file
from hanlin.checkpoint.gguf.header import Header
from hanlin.checkpoint.gguf.names import (
    ROPE_FACTORS,
    expected_shapes,
    halves_together,
    is_permuted,
    to_gguf,
    to_hugging_face,
)
from hanlin.checkpoint.gguf.quants import Blocks, Format, dequantize


class GgufTensors:
    """What a weights file is to the loader: names, shapes, and one tensor at a time."""

    def __init__(self, header: Header, config: dict[str, Any]) -> None:
        """`config`: the config.json of the file, which its tensors have been held against."""
        self._header, self._config = header, config
        self._names = {to_hugging_face(name): name for name in header.tensors if name != ROPE_FACTORS}

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._names if name is not None)

    def shape(self, name: str) -> list[int]:
        """Shape of one tensor, from the file's header."""
        return list(self._header.tensors[self._names[name]].shape)

    def dtype(self, name: str) -> torch.dtype:
        """What `load` gives."""
        return torch.float32

    def pieces(self, name: str) -> Iterator[Tensor]:
        """The tensor in one piece: turning it into float32 takes its memory anyway."""
        yield self.load(name)

    def load(self, name: str) -> Tensor:
        """Read one tensor, in float32 and in Hugging Face's order of rows."""
        tensor = read_tensor(self._header, to_gguf(name))
        if is_permuted(name, self._config):
            return halves_together(tensor, self._config["head_dim"])
        return tensor

    def format(self, name: str) -> Format:
        """How one tensor is stored, from the file's header."""
        return self._header.tensors[self._names[name]].format

    def blocks(self, name: str) -> Blocks:
        """One tensor as it is stored, in Hugging Face's order of rows."""
        place = self._header.tensors[to_gguf(name)]
        data_RB = np.frombuffer(self._header.data, np.uint8, place.size, place.start).reshape(
            place.shape[0], -1
        )
        if is_permuted(name, self._config):
            data_RB = halves_together(data_RB, self._config["head_dim"])
        return Blocks(place.format, place.shape, data_RB)


def read_tensor(header: Header, name: str) -> Tensor:
    """One tensor of the file as it is stored there, in float32."""
    place = header.tensors[name]
    data = np.frombuffer(header.data, np.uint8, place.size, place.start)
    return dequantize(data, place.format, place.shape)


def rows_of(header: Header, name: str) -> int:
    """The number of rows of a tensor that must be there."""
    if name not in header.tensors:
        raise damaged(header.path, f"the tensor {name} is missing", f"缺少张量 {name}")
    return header.tensors[name].shape[0]


def check_tensors(header: Header, config: dict[str, Any]) -> None:
    """Raise `CheckpointError` unless the file has every tensor that `config` asks for, and no other."""
    found = {name: to_hugging_face(name) for name in header.tensors if name != ROPE_FACTORS}
    layers = config["num_hidden_layers"]
    if layers > len(found):  # before listing them: the names of a billion layers would fill the memory
        raise damaged(header.path, f"it announces {layers} layers, and has {len(found)} tensors",
                      f"声明有 {layers} 层，但只有 {len(found)} 个张量")  # fmt: skip
    expected = expected_shapes(config)
    for name, theirs in found.items():
        if theirs not in expected:
            raise CheckpointError(
                Text(f"{header.path}: the tensor {name} is no part of a {config['model_type']} of {layers} layers.",
                     f"{header.path}：张量 {name} 不属于 {layers} 层的 {config['model_type']} 模型。"),
                other_file(),
            )  # fmt: skip
        if header.tensors[name].shape != expected[theirs]:
            raise contradiction(header.path, name, header.tensors[name].shape, expected[theirs])
    for theirs in expected:
        rows_of(header, to_gguf(theirs))


def contradiction(
    path: Path, name: str, found: tuple[int, ...], expected: tuple[int, ...]
) -> CheckpointError:
    """The error for a tensor that is not of the shape that the settings ask for."""
    return damaged(
        path,
        f"{name} has shape {found}, and its settings ask for {expected}",
        f"{name} 的形状为 {found}，而其设置要求 {expected}",
    )

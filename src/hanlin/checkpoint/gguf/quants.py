"""How GGUF stores numbers: the block formats, to float32 and back, by the `gguf` package."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hanlin.base.errors import MissingExtra
from hanlin.base.language import Text

Quantization = Literal["F32", "F16", "Q8_0", "Q4_0"]


@dataclass(frozen=True)
class Format:
    """One format: `block` values of a row are stored together in `bytes` bytes."""

    name: str
    id: int
    block: int
    bytes: int


FORMATS: dict[int, Format] = {
    format.id: format
    for format in (
        Format("F32", 0, 1, 4),
        Format("F16", 1, 1, 2),
        Format("Q4_0", 2, 32, 18),
        Format("Q4_1", 3, 32, 20),
        Format("Q5_0", 6, 32, 22),
        Format("Q5_1", 7, 32, 24),
        Format("Q8_0", 8, 32, 34),
        Format("Q2_K", 10, 256, 84),
        Format("Q3_K", 11, 256, 110),
        Format("Q4_K", 12, 256, 144),
        Format("Q5_K", 13, 256, 176),
        Format("Q6_K", 14, 256, 210),
        Format("IQ2_XXS", 16, 256, 66),
        Format("IQ2_XS", 17, 256, 74),
        Format("IQ3_XXS", 18, 256, 98),
        Format("IQ1_S", 19, 256, 50),
        Format("IQ4_NL", 20, 32, 18),
        Format("IQ3_S", 21, 256, 110),
        Format("IQ2_S", 22, 256, 82),
        Format("IQ4_XS", 23, 256, 136),
        Format("IQ1_M", 29, 256, 56),
        Format("BF16", 30, 1, 2),
        Format("TQ1_0", 34, 256, 54),
        Format("TQ2_0", 35, 256, 66),
        Format("MXFP4", 39, 32, 17),
    )
}
"""Every format that `gguf` turns into float32, by its number in the file. Source: ggml.h and ggml-common.h."""

BY_NAME: dict[str, Format] = {format.name: format for format in FORMATS.values()}


@dataclass(frozen=True)
class Blocks:
    """A tensor as a file of `format` holds it: the bytes of each of its first axis' rows, (R, bytes), uint8."""

    format: Format
    shape: tuple[int, ...]
    data: np.ndarray[Any, np.dtype[np.uint8]]

    def dequantize(self) -> Tensor:
        """As float32."""
        return dequantize(self.data, self.format, self.shape)


_AT_ONCE = 2**17
"""Values turned in one go: what is made between then stays in the processor's cache, and memory is bounded."""


def dequantize(data: np.ndarray[Any, np.dtype[np.uint8]], format: Format, shape: tuple[int, ...]) -> Tensor:
    """The bytes of one tensor as float32 of `shape`, in memory of its own."""
    quants, formats = _package()
    blocks = data.reshape(-1, format.bytes)
    values = np.empty((len(blocks), format.block), np.float32)
    step = _AT_ONCE // format.block
    for start in range(0, len(blocks), step):
        row = blocks[start : start + step].reshape(1, -1)
        values[start : start + step] = quants.dequantize(row, formats(format.id)).reshape(-1, format.block)
    return torch.from_numpy(values.reshape(shape))


def quantize(tensor: Tensor, format: Format) -> Iterator[bytes]:
    """A float32 tensor as the bytes of `format`, piece by piece; its rows must be whole blocks."""
    assert tensor.shape[-1] % format.block == 0
    quants, formats = _package()
    values = tensor.contiguous().numpy().reshape(-1)
    for start in range(0, len(values), _AT_ONCE):
        row = values[start : start + _AT_ONCE].reshape(1, -1)
        yield quants.quantize(row, formats(format.id)).tobytes()


def quantize_tensor(tensor: Tensor, format: Format) -> Blocks:
    """A float32 matrix in blocks."""
    data = np.frombuffer(b"".join(quantize(tensor, format)), np.uint8)
    return Blocks(format, tuple(tensor.shape), data.reshape(len(tensor), -1))


def stored_as(shape: tuple[int, ...], wanted: Quantization, is_head: bool) -> Format:
    """The format of one tensor in a file of `wanted`.

    Vectors (norms, biases) stay F32: they are small, and llama.cpp computes with them in float32. In a Q4_0
    file the matrix that makes the logits is Q8_0: llama.cpp's own files give it more bits too (Q6_K, which
    the `gguf` package cannot write). Rows that are no whole blocks are F16.
    """
    if len(shape) == 1 or wanted == "F32":
        return BY_NAME["F32"]
    chosen = BY_NAME["Q8_0" if wanted == "Q4_0" and is_head else wanted]
    return chosen if shape[-1] % chosen.block == 0 else BY_NAME["F16"]


def _package() -> tuple[Any, Any]:
    try:
        from gguf import GGMLQuantizationType, quants
    except ImportError as error:
        raise MissingExtra(Text("GGUF files", "GGUF 文件"), "gguf") from error
    return quants, GGMLQuantizationType

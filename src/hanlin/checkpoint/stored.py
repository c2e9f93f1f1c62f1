"""The weights of a decoder under our names, one at a time, in the numbers that they are computed with."""

from collections.abc import Iterator
from typing import Literal, Protocol, cast

import torch
from torch import Tensor

from hanlin.base.device import Compute
from hanlin.checkpoint.folder import Described, build_described
from hanlin.checkpoint.gguf.quants import Blocks, Format, Quantization, quantize_tensor, stored_as
from hanlin.checkpoint.gguf.tensors import GgufTensors
from hanlin.checkpoint.tensor_files import TensorFiles, is_sharded
from hanlin.checkpoint.weights import TensorSource, check_size, match_tensors
from hanlin.model.assemble import build_empty, build_outline
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.model.rounded import round_inputs

WeightsName = Literal["auto", "float32", "int8", "int4"]
"""auto: as they are stored; float32: quantisation undone; int8 and int4: GGUF's Q8_0 and Q4_0."""

COMPUTED = ("Q4_0", "Q4_1", "Q8_0")
"""The block formats that are computed with; weights in others become float32."""

_QUANTIZATIONS: dict[WeightsName, Quantization] = {"int8": "Q8_0", "int4": "Q4_0"}
_TOGETHER = (
    ("attention.query", "attention.key", "attention.value"),
    ("attention.output",),
    ("ffn.gate", "ffn.up"),
    ("ffn.down",),
)
"""Matrices of a block that share an input: if one of them is float32, all are, since the input is rounded or is not."""

EMBEDDING, HEAD = "embed.token", "head"


class _Source(Protocol):
    """Where weights come from, by our names of parameters."""

    def __contains__(self, name: str) -> bool: ...

    def shape(self, name: str) -> tuple[int, ...]: ...

    def format(self, name: str) -> Format | None:
        """The block format that a tensor is stored in, if it is stored in blocks by itself."""

    def blocks(self, name: str) -> Blocks: ...

    def load(self, name: str) -> Tensor:
        """In float32, on the CPU."""


class _Files:
    """A folder or file, of which one tensor at a time is read."""

    def __init__(self, described: Described) -> None:
        path, outline = described.path, build_outline(described.config)
        self._tensors: TensorSource
        if described.gguf is None:
            self._tensors = TensorFiles(path)
            check_size(described.config, self._tensors, str(path))
        else:
            self._tensors = described.gguf.tensors
        self._shapes = {name: value.shape for name, value in outline.named_parameters()}
        self._places = {
            ours: (entry, name, part)
            for entry, name in match_tensors(outline, described.family, self._tensors, str(path))
            for part, ours in enumerate(entry.ours)
        }

    def __contains__(self, name: str) -> bool:
        return name in self._shapes

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def format(self, name: str) -> Format | None:
        entry, stored, _ = self._places[name]
        alone = len(entry.ours) == 1 and entry.layout == "same"
        return self._tensors.format(stored) if alone and isinstance(self._tensors, GgufTensors) else None

    def blocks(self, name: str) -> Blocks:
        return cast(GgufTensors, self._tensors).blocks(self._places[name][1])

    def load(self, name: str) -> Tensor:
        entry, stored, part = self._places[name]
        shapes = [self._shapes[ours] for ours in entry.ours]
        return entry.divide(self._tensors.load(stored), shapes)[part].float()


class _Held:
    """A decoder in memory."""

    def __init__(self, model: Decoder) -> None:
        self._parameters = {name: value.detach() for name, value in model.named_parameters()}

    def __contains__(self, name: str) -> bool:
        return name in self._parameters

    def shape(self, name: str) -> tuple[int, ...]:
        return self._parameters[name].shape

    def format(self, name: str) -> None:
        return None

    def blocks(self, name: str) -> Blocks:
        raise AssertionError(name)

    def load(self, name: str) -> Tensor:
        return self._parameters[name].float().cpu()


class StoredWeights:
    """The weights of a decoder with a language-model head.

    formats: of each matrix (`blocks.0.ffn.up`, without `.weight`) that is in a block format, which one.
    """

    def __init__(self, source: Described | Decoder, weights: WeightsName = "auto") -> None:
        """Raises `CheckpointError` for tensors that are unknown, missing or misshapen, `MissingExtra` without gguf."""
        if isinstance(source, Described) and source.gguf is None and is_sharded(source.path):
            source = cast(Decoder, build_described(source, Compute(torch.device("cpu"), torch.float32)))
        self.config: CoreConfig = source.config
        self._source: _Source = _Held(source) if isinstance(source, Decoder) else _Files(source)
        self.formats = {
            name: format for group in self._groups() for name, format in self._choose(group, weights)
        }

    def _groups(self) -> Iterator[list[str]]:
        yield [EMBEDDING]
        if not self.config.tied:
            yield [HEAD]
        for layer in range(self.config.layers):
            for group in _TOGETHER:
                yield [f"blocks.{layer}.{name}" for name in group]

    def _choose(self, group: list[str], weights: WeightsName) -> list[tuple[str, Format]]:
        formats = [self._format(name, weights) for name in group if f"{name}.weight" in self._source]
        return [
            (name, format) for name, format in zip(group, formats, strict=False) if format and all(formats)
        ]

    def _format(self, name: str, weights: WeightsName) -> Format | None:
        if weights == "float32":
            return None
        format = self._source.format(f"{name}.weight")
        if weights != "auto" and (format is None or format.name not in COMPUTED):
            is_head = name == HEAD or (self.config.tied and name == EMBEDDING)
            format = stored_as(self._source.shape(f"{name}.weight"), _QUANTIZATIONS[weights], is_head)
        return format if format is not None and format.name in COMPUTED else None

    def matrix(self, name: str) -> Blocks | Tensor:
        """A matrix, (outputs, inputs): in blocks where `formats` has it, otherwise in float32."""
        weight, format = f"{name}.weight", self.formats.get(name)
        if format is None:
            return self._source.load(weight)
        if self._source.format(weight) == format:
            return self._source.blocks(weight)
        return quantize_tensor(self._source.load(weight), format)

    def vector(self, name: str) -> Tensor | None:
        """A parameter of a norm or a bias by its whole name, float32; None where the model has none."""
        return self._source.load(name) if name in self._source else None

    def decoder(self, compute: Compute) -> Decoder:
        """The same in PyTorch: what is in blocks becomes float32, and the inputs of such matrices are rounded."""
        model = cast(Decoder, build_empty(self.config, compute.device))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(self._values(name.removesuffix(".weight"), name))
        rounded = set(self.formats) | ({HEAD} if self.config.tied and EMBEDDING in self.formats else set())
        round_inputs(model, rounded - {EMBEDDING})
        return model.eval()

    def _values(self, name: str, whole: str) -> Tensor:
        if name not in self.formats or name == whole:
            return self._source.load(whole)
        matrix = self.matrix(name)
        return matrix.dequantize() if isinstance(matrix, Blocks) else matrix

"""Write a model as one GGUF file that llama.cpp opens."""

import struct
from math import prod
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from hanlin.base.errors import CheckpointError
from hanlin.base.files import atomic_file
from hanlin.base.language import Text
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.gguf.cursor import ARRAY, STRING
from hanlin.checkpoint.gguf.header import ALIGNMENT, MAGIC
from hanlin.checkpoint.gguf.model import ADVICE
from hanlin.checkpoint.gguf.names import (
    EMBEDDING,
    HEAD,
    ROPE_FACTORS,
    expected_shapes,
    is_permuted,
    pairs_together,
    to_gguf,
)
from hanlin.checkpoint.gguf.quants import BY_NAME, Format, Quantization, quantize, stored_as
from hanlin.checkpoint.gguf.rope import llama3_factors
from hanlin.checkpoint.gguf.settings import complete_config, write_config
from hanlin.checkpoint.gguf.write_vocabulary import OnMismatch, write_tokenizer
from hanlin.checkpoint.weights import TensorSource
from hanlin.tokenizer.folder import read_tokenizer_files

_FILE_TYPES: dict[Quantization, int] = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 7}
"""`general.file_type`. Source: llama.h, llama_ftype."""


def write_gguf(
    path: Path,
    config: dict[str, Any],
    tensors: TensorSource,
    tokenizer: Path,
    kind: Quantization = "F16",
    name: str = "",
    defaults: GenerationDefaults | None = None,
    on_mismatch: OnMismatch = "refuse",
) -> None:
    """Write `path`, whole or not at all, reading one tensor at a time.

    config: config.json of a Llama, Qwen 2 or Qwen 3. tokenizer: the folder of its tokenizer. kind: how the
    matrices are stored (`stored_as` says which are not). name: `general.name`, by default the file's.
    on_mismatch: what to do where llama.cpp cannot cut text as the tokenizer does.

    Raises `CheckpointError` for what GGUF cannot express, for tensors that are missing, unknown or misshapen,
    and for values beyond the range of float16 in an F16 file; `DiskError` when the disk is full.
    """
    config = complete_config(config)
    files = read_tokenizer_files(tokenizer)
    shapes = expected_shapes(config)
    _check(tensors, shapes)
    head = HEAD if HEAD in shapes else EMBEDDING
    formats = {theirs: stored_as(shape, kind, theirs == head) for theirs, shape in shapes.items()}
    metadata = {
        "general.architecture": config["model_type"],
        "general.type": "model",
        "general.name": name or path.stem,
        "general.file_type": _FILE_TYPES[kind],
        "general.quantization_version": 2,
        **write_config(config),
        **write_tokenizer(files, config["vocab_size"], on_mismatch),
        **_advice(defaults or GenerationDefaults()),
    }
    plan = {to_gguf(theirs): (shapes[theirs], formats[theirs]) for theirs in shapes}
    rope = config["rope_parameters"]
    if rope["rope_type"] == "llama3":
        plan[ROPE_FACTORS] = ((config["head_dim"] // 2,), BY_NAME["F32"])
    with atomic_file(path, "wb") as file:
        _write_header(file, metadata, plan)
        for theirs, format in formats.items():
            _write_tensor(file, _arranged(tensors.load(theirs), theirs, config), format, theirs)
        if rope["rope_type"] == "llama3":
            _write_tensor(file, llama3_factors(rope, config["head_dim"]), BY_NAME["F32"], ROPE_FACTORS)


def _arranged(tensor: Tensor, name: str, config: dict[str, Any]) -> Tensor:
    """A tensor in GGUF's order of rows, float32."""
    tensor = tensor.detach().to("cpu", torch.float32)
    return pairs_together(tensor, config["head_dim"]) if is_permuted(name, config) else tensor


def _write_header(
    file: IO[bytes], metadata: dict[str, Any], plan: dict[str, tuple[tuple[int, ...], Format]]
) -> None:
    parts = [MAGIC, struct.pack("<IQQ", 3, len(plan), len(metadata))]
    for key, value in metadata.items():
        parts += [_string(key), _value(value)]
    offset = 0
    for name, (shape, format) in plan.items():
        parts += [_string(name), struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])]
        parts.append(struct.pack("<IQ", format.id, offset))
        size = prod(shape) // format.block * format.bytes
        offset += size + -size % ALIGNMENT
    header = b"".join(parts)
    file.write(header + bytes(-len(header) % ALIGNMENT))


def _write_tensor(file: IO[bytes], tensor: Tensor, format: Format, name: str) -> None:
    if format.name == "F16" and bool((tensor.abs() > torch.finfo(torch.float16).max).any()):
        raise CheckpointError(
            Text(f"{name} has values beyond the range of float16.", f"{name} 中有超出 float16 范围的数值。"),
            Text("Write the file with kind=F32.", "请以 kind=F32 写出该文件。"),
        )
    size = sum(file.write(piece) for piece in quantize(tensor, format))
    file.write(bytes(-size % ALIGNMENT))


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> bytes:
    """A setting with its type: whole numbers are uint32 (in lists int32), others float32."""
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", STRING) + _string(value)
    kinds = {str: STRING, int: 5, float: 6}
    kind = kinds[type(value[0])] if value else STRING
    head = struct.pack("<IIQ", ARRAY, kind, len(value))
    if kind == STRING:
        return head + b"".join(map(_string, value))
    return head + struct.pack(f"<{len(value)}{'i' if kind == 5 else 'f'}", *value)


def _advice(defaults: GenerationDefaults) -> dict[str, Any]:
    given = {theirs: getattr(defaults, ours) for ours, theirs in ADVICE.items()}
    return {f"general.sampling.{key}": value for key, value in given.items() if value is not None}


def _check(tensors: TensorSource, shapes: dict[str, tuple[int, ...]]) -> None:
    """Raise `CheckpointError` unless the source has just these tensors; a tied head may repeat the embedding."""
    names = set(tensors)
    if HEAD in names - shapes.keys():
        names.remove(HEAD)
        if not torch.equal(tensors.load(HEAD), tensors.load(EMBEDDING)):
            raise _misfit(f"{HEAD} differs from the embedding it is tied to", f"{HEAD} 与其共享的词嵌入不同")
    for name in sorted(names - shapes.keys()):
        raise _misfit(f"{name} is unknown", f"{name} 未知")
    for name, shape in shapes.items():
        if name not in names:
            raise _misfit(f"{name} is missing", f"缺少 {name}")
        found = tuple(tensors.shape(name))
        if found != shape:
            raise _misfit(
                f"{name} has shape {found}, not {shape}", f"{name} 的形状是 {found}，而不是 {shape}"
            )


def _misfit(en: str, zh: str) -> CheckpointError:
    return CheckpointError(
        Text(f"The weights do not fit config.json: {en}.", f"权重与 config.json 不符：{zh}。"),
        Text("Use the config.json that belongs to these weights.", "请使用与这些权重配套的 config.json。"),
    )

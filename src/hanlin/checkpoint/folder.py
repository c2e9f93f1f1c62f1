"""A model folder: config.json, model.safetensors, tokenizer files, generation defaults, hanlin.json."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from hanlin.base.device import Compute
from hanlin.base.errors import CheckpointError
from hanlin.base.files import atomic_folder, recover_folder, write_further
from hanlin.base.language import Text
from hanlin.base.manifest import NAME as MANIFEST
from hanlin.base.manifest import Manifest, read_manifest, verify_files, write_manifest
from hanlin.checkpoint.defaults import GenerationDefaults, read_defaults, write_defaults
from hanlin.checkpoint.family import Family
from hanlin.checkpoint.gguf.model import GgufModel, open_gguf
from hanlin.checkpoint.known import locate
from hanlin.checkpoint.recognize import GGUF, choose_family, read_config, read_gguf_config
from hanlin.checkpoint.tensor_files import TensorFiles, is_sharded
from hanlin.checkpoint.weights import SHARD_BYTES, check_size, fill_model, read_weights, write_weights
from hanlin.model.assemble import Model, build_empty
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.tokenizer.tokenizer import Tokenizer


def save_model(
    folder: Path,
    model: Model,
    tokenizer: Tokenizer,
    defaults: GenerationDefaults,
    inputs: dict[str, str],
    report: dict[str, Any],
    family: Family | None = None,
    shard_bytes: int = SHARD_BYTES,
    texts: Mapping[str, str] = MappingProxyType({}),
) -> Manifest:
    """Write a model folder that appears whole or not at all, in `family` if that can express the model.

    Weights beyond `shard_bytes` are written in several files. texts: further files, by their place in the folder.
    """
    with atomic_folder(folder) as fresh:
        write_model_files(fresh, model, tokenizer, defaults, family, shard_bytes)
        write_further(fresh, texts)
        return write_manifest(fresh, "model", model.config.model_dump(), inputs, report)


def write_model_files(
    folder: Path,
    model: Model,
    tokenizer: Tokenizer,
    defaults: GenerationDefaults,
    family: Family | None = None,
    shard_bytes: int = SHARD_BYTES,
    weights: bool = True,
) -> None:
    """Write everything of a model folder but its manifest; without `weights`, all that says what they are of."""
    family, values = choose_family(model.config, family, tokenizer)
    config = {
        "model_type": family.name,
        **values,
        "torch_dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.pad_id,
    }
    start_id = tokenizer.start_id if model.config.assembly == "seq2seq" else None
    if start_id is not None:
        config["decoder_start_token_id"] = start_id
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", "utf-8")
    if weights:
        write_weights(folder, model, family, shard_bytes)
    tokenizer.save(folder)
    write_defaults(folder, defaults, tokenizer.stop_ids, tokenizer.pad_id, start_id)


@dataclass(frozen=True)
class Described:
    """All of a model folder or GGUF file but its weights. gguf: the file, open, where it is one."""

    path: Path
    family: Family
    config: CoreConfig
    tokenizer: Tokenizer
    defaults: GenerationDefaults
    gguf: GgufModel | None = None


def load_model(folder: Path, compute: Compute) -> tuple[Decoder, Tokenizer, GenerationDefaults]:
    """As `open_model`, for a model that continues text; `CheckpointError` for one of another kind."""
    model, tokenizer, defaults = open_model(folder, compute)
    check_continues(folder, model.config)
    assert isinstance(model, Decoder)
    return model, tokenizer, defaults


def check_continues(folder: Path, config: CoreConfig) -> None:
    """Raise `CheckpointError` for a model that does not continue text."""
    if (config.assembly, config.head) != ("decoder", "lm"):
        kind = f"{config.assembly}, head {config.head}"
        raise CheckpointError(
            Text(f"{folder} holds no model that continues text ({kind}).", f"{folder} 中的模型不能续写文本（{kind}）。"),
            Text("Give a folder with a causal language model.", "请给出因果语言模型的目录。"),
        )  # fmt: skip


def open_model(
    folder: Path, compute: Compute, dtype: torch.dtype = torch.float32
) -> tuple[Model, Tokenizer, GenerationDefaults]:
    """Open a model folder, ours or anyone's of a known family, in evaluation mode on `compute.device`.

    A checkpoint that several processes wrote in parts opens as well.
    dtype: of the weights in memory, whatever it is on disk. Raises `CheckpointError` for a folder that is
    missing, incomplete, damaged, of a newer format or of an unknown kind of model.
    """
    described = describe_model(folder)
    return build_described(described, compute, dtype), described.tokenizer, described.defaults


def describe_model(folder: Path) -> Described:
    """All of a model but its weights. Raises as `open_model`."""
    path = find_model(folder)
    if path.suffix == GGUF:
        opened = open_gguf(path)
        family, config = read_gguf_config(path, opened)
        described = Described(path, family, config, Tokenizer(opened.tokenizer), opened.defaults, opened)
    else:
        family, config = read_config(path)
        if (path / MANIFEST).is_file():
            verify_files(path, read_manifest(path))
        described = Described(path, family, config, Tokenizer.load(path), read_defaults(path))
    _check_vocabulary(path, described.tokenizer, config)
    return described


def build_described(described: Described, compute: Compute, dtype: torch.dtype = torch.float32) -> Model:
    """The model with its weights, in evaluation mode. Raises as `open_model`."""
    path, family, config = described.path, described.family, described.config
    sharded = described.gguf is None and is_sharded(path)
    if described.gguf is None and not sharded:
        check_size(config, TensorFiles(path), str(path))
    model = build_empty(config, compute.device, dtype)
    if described.gguf is not None:
        fill_model(model, family, described.gguf.tensors, str(path))
    elif sharded:
        from hanlin.checkpoint.sharded import read_sharded_weights

        read_sharded_weights(path, model)
    else:
        read_weights(path, model, family)
    return model.eval()


def _check_vocabulary(folder: Path, tokenizer: Tokenizer, config: CoreConfig) -> None:
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            Text(
                f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, the model only {config.vocab_size}.",
                f"{folder}：分词器有 {tokenizer.vocab_size} 个词元，而模型只有 {config.vocab_size} 个。",
            ),
            Text("Use the tokenizer that belongs to this model.", "请使用与该模型配套的分词器。"),
        )


def find_model(folder: Path) -> Path:
    """`folder` itself, or the model inside it if it is the folder of a run or of its training.

    What is no path of this machine is a name: see `locate`, whose `CheckpointError` this raises.
    """
    candidates = [folder, folder / "model", folder / "pretrain" / "model"]
    for candidate in candidates:
        recover_folder(candidate)
    found = next((path for path in candidates if (path / "config.json").is_file()), folder)
    return found if found.exists() else locate(str(folder))

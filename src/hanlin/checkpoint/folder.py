"""A model folder: config.json, model.safetensors, tokenizer files, generation defaults, hanlin.json."""

import json
from collections.abc import Mapping
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
from hanlin.checkpoint.gguf.model import open_gguf
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


def load_model(folder: Path, compute: Compute) -> tuple[Decoder, Tokenizer, GenerationDefaults]:
    """As `open_model`, for a model that continues text; `CheckpointError` for one of another kind."""
    model, tokenizer, defaults = open_model(folder, compute)
    if not isinstance(model, Decoder) or model.config.head != "lm":
        kind = f"{model.config.assembly}, head {model.config.head}"
        raise CheckpointError(
            Text(f"{folder} holds no model that continues text ({kind}).", f"{folder} 中的模型不能续写文本（{kind}）。"),
            Text("Give a folder with a causal language model.", "请给出因果语言模型的目录。"),
        )  # fmt: skip
    return model, tokenizer, defaults


def open_model(
    folder: Path, compute: Compute, dtype: torch.dtype = torch.float32
) -> tuple[Model, Tokenizer, GenerationDefaults]:
    """Open a model folder, ours or anyone's of a known family, in evaluation mode on `compute.device`.

    A checkpoint that several processes wrote in parts opens as well.
    dtype: of the weights in memory, whatever it is on disk. Raises `CheckpointError` for a folder that is
    missing, incomplete, damaged, of a newer format or of an unknown kind of model.
    """
    folder = find_model(folder)
    if folder.suffix == GGUF:
        return _open_file(folder, compute, dtype)
    family, config = read_config(folder)
    if (folder / MANIFEST).is_file():
        verify_files(folder, read_manifest(folder))
    tokenizer = Tokenizer.load(folder)
    _check_vocabulary(folder, tokenizer, config)
    sharded = is_sharded(folder)
    if not sharded:
        check_size(config, TensorFiles(folder), str(folder))
    model = build_empty(config, compute.device, dtype)
    if sharded:
        from hanlin.checkpoint.sharded import read_sharded_weights

        read_sharded_weights(folder, model)
    else:
        read_weights(folder, model, family)
    return model.eval(), tokenizer, read_defaults(folder)


def _open_file(
    path: Path, compute: Compute, dtype: torch.dtype
) -> tuple[Model, Tokenizer, GenerationDefaults]:
    opened = open_gguf(path)
    family, config = read_gguf_config(path, opened)
    tokenizer = Tokenizer(opened.tokenizer)
    _check_vocabulary(path, tokenizer, config)
    model = build_empty(config, compute.device, dtype)
    fill_model(model, family, opened.tensors, str(path))
    return model.eval(), tokenizer, opened.defaults


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

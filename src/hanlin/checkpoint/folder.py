"""A model folder: config.json, model.safetensors, tokenizer files, generation defaults, hanlin.json."""

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from hanlin.base.device import Compute
from hanlin.base.errors import CheckpointError
from hanlin.base.files import atomic_folder, recover_folder
from hanlin.base.language import Text
from hanlin.base.manifest import NAME as MANIFEST
from hanlin.base.manifest import Manifest, read_manifest, verify_files, write_manifest
from hanlin.checkpoint.bart import BART
from hanlin.checkpoint.bert import BERT
from hanlin.checkpoint.defaults import GenerationDefaults, read_defaults, write_defaults
from hanlin.checkpoint.family import Family, as_read, express
from hanlin.checkpoint.gemma3 import GEMMA3
from hanlin.checkpoint.gguf.model import open_gguf
from hanlin.checkpoint.glm4 import GLM4
from hanlin.checkpoint.gpt2 import GPT2
from hanlin.checkpoint.known import locate
from hanlin.checkpoint.llama import LLAMA
from hanlin.checkpoint.marian import MARIAN
from hanlin.checkpoint.mistral import MISTRAL
from hanlin.checkpoint.mixtral import MIXTRAL
from hanlin.checkpoint.modernbert import MODERNBERT
from hanlin.checkpoint.native import NATIVE
from hanlin.checkpoint.qwen2 import QWEN2
from hanlin.checkpoint.qwen3 import QWEN3
from hanlin.checkpoint.qwen3_moe import QWEN3_MOE
from hanlin.checkpoint.roberta import ROBERTA
from hanlin.checkpoint.t5 import T5
from hanlin.checkpoint.weights import SHARD_BYTES, fill_model, read_weights, tensor_names, write_weights
from hanlin.model.assemble import Model, build_empty
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.tokenizer.tokenizer import Tokenizer

_DECODERS = (LLAMA, GPT2, MISTRAL, QWEN2, QWEN3, GEMMA3, GLM4, MIXTRAL, QWEN3_MOE)

_OTHERS = (BERT, ROBERTA, MODERNBERT, BART, MARIAN, T5)

FAMILIES: dict[str, Family] = {family.name: family for family in (*_DECODERS, *_OTHERS, NATIVE)}
"""Every kind of config.json that opens; when writing, the first that can express the model is taken."""


GGUF = ".gguf"
"""The ending of a file that is a model by itself."""


def save_model(
    folder: Path,
    model: Model,
    tokenizer: Tokenizer,
    defaults: GenerationDefaults,
    inputs: dict[str, str],
    report: dict[str, Any],
    family: Family | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Manifest:
    """Write a model folder that appears whole or not at all, in `family` if that can express the model.

    Weights beyond `shard_bytes` are written in several files.
    """
    with atomic_folder(folder) as fresh:
        write_model_files(fresh, model, tokenizer, defaults, family, shard_bytes)
        return write_manifest(fresh, "model", model.config.model_dump(), inputs, report)


def write_model_files(
    folder: Path,
    model: Model,
    tokenizer: Tokenizer,
    defaults: GenerationDefaults,
    family: Family | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write everything of a model folder but its manifest."""
    family, values = _choose_family(model.config, family, tokenizer)
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
    model = build_empty(config, compute.device, dtype)
    read_weights(folder, model, family)
    return model.eval(), tokenizer, read_defaults(folder)


def _open_file(
    path: Path, compute: Compute, dtype: torch.dtype
) -> tuple[Model, Tokenizer, GenerationDefaults]:
    opened = open_gguf(path)
    family = FAMILIES[opened.config["model_type"]]
    config = family.read(opened.config)
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


def read_config(folder: Path) -> tuple[Family, CoreConfig]:
    """The family and settings of a model folder or GGUF file; of its weights, at most their names are read."""
    if folder.suffix == GGUF:
        values = open_gguf(folder).config
        return FAMILIES[values["model_type"]], FAMILIES[values["model_type"]].read(values)
    path = folder / "config.json"
    if not path.is_file():
        raise _no_config(folder)
    try:
        values = json.loads(path.read_text("utf-8"))
        kind = values.get("model_type")
        if kind not in FAMILIES:
            raise _unknown_kind(path, kind)
        if values.get("quantization_config"):
            raise _quantized(path)
        family, config = FAMILIES[kind], FAMILIES[kind].read(values)
        if family.settle is not as_read:
            config = family.settle(config, tensor_names(folder, family))
        return family, config
    except (ValueError, KeyError, AttributeError, TypeError, ArithmeticError, ValidationError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(
            Text(f"{path} is damaged or incomplete: {reason}", f"{path} 已损坏或不完整：{reason}"),
            Text("Restore config.json from a copy.", "请从备份恢复 config.json。"),
        ) from error


def _choose_family(
    config: CoreConfig, wanted: Family | None, tokenizer: Tokenizer
) -> tuple[Family, dict[str, Any]]:
    """The first family that can express the model, the wanted one before all, and its config.json.

    Where a family's positions hang on the id of padding (RoBERTa's), that must be the tokenizer's.
    """
    for family in (*([wanted] if wanted else []), *FAMILIES.values()):
        values = express(config, family)
        if values is not None and values.get("pad_token_id", tokenizer.pad_id) == tokenizer.pad_id:
            return family, values
    raise AssertionError("NATIVE expresses every config")


def _unknown_kind(path: Path, kind: Any) -> CheckpointError:
    if kind == "gemma3":
        return CheckpointError(
            Text(f"{path}: this Gemma 3 also reads pictures (model_type 'gemma3'); only its text models can be opened.",
                 f"{path}：这个 Gemma 3 还能读图（model_type 为 'gemma3'）；只能打开其纯文本模型。"),
            Text("Use a folder whose model_type is gemma3_text, such as that of Gemma 3 1B.",
                 "请使用 model_type 为 gemma3_text 的目录，例如 Gemma 3 1B。"),
        )  # fmt: skip
    return CheckpointError(
        Text(
            f"{path}: model_type {kind!r} cannot be opened.",
            f"{path}：无法打开 model_type 为 {kind!r} 的模型。",
        ),
        Text(
            f"These can: {', '.join(sorted(FAMILIES))}.",
            f"可以打开的有：{'、'.join(sorted(FAMILIES))}。",
        ),
    )


def _quantized(path: Path) -> CheckpointError:
    return CheckpointError(
        Text(f"{path} sets quantization_config: its weights are packed, and cannot be opened.",
             f"{path} 设置了 quantization_config：其权重是打包的，无法打开。"),
        Text("Use the model in float16, bfloat16 or float32, or as a GGUF file.",
             "请使用 float16、bfloat16 或 float32 的模型，或其 GGUF 文件。"),
    )  # fmt: skip


def _no_config(folder: Path) -> CheckpointError:
    there = folder.is_dir()
    return CheckpointError(
        Text(
            f"{folder} is not a model folder: {'it has no config.json' if there else 'it does not exist'}.",
            f"{folder} 不是模型目录：{'其中没有 config.json' if there else '该目录不存在'}。",
        ),
        Text(
            "Give a folder with config.json, model.safetensors and tokenizer.json, or the folder of a run.",
            "请给出包含 config.json、model.safetensors 与 tokenizer.json 的目录，或一次运行的目录。",
        ),
    )

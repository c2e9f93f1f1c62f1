"""A model folder: config.json, model.safetensors, tokenizer files, generation defaults, hanlin.json."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hanlin.base.device import Compute
from hanlin.base.errors import CheckpointError
from hanlin.base.files import atomic_folder, recover_folder
from hanlin.base.language import Text
from hanlin.base.manifest import NAME as MANIFEST
from hanlin.base.manifest import Manifest, read_manifest, verify_files, write_manifest
from hanlin.checkpoint.defaults import GenerationDefaults, read_defaults, write_defaults
from hanlin.checkpoint.family import Family, express
from hanlin.checkpoint.gpt2 import GPT2
from hanlin.checkpoint.llama import LLAMA
from hanlin.checkpoint.native import NATIVE
from hanlin.checkpoint.weights import read_weights, write_weights
from hanlin.model.assemble import Model, build_empty
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.tokenizer.tokenizer import Tokenizer

FAMILIES: dict[str, Family] = {family.name: family for family in (LLAMA, GPT2, NATIVE)}
"""Every kind of config.json that opens; when writing, the first that can express the model is taken."""


def save_model(
    folder: Path,
    model: Model,
    tokenizer: Tokenizer,
    defaults: GenerationDefaults,
    inputs: dict[str, str],
    report: dict[str, Any],
    family: Family | None = None,
) -> Manifest:
    """Write a model folder that appears whole or not at all, in `family` if that can express the model."""
    with atomic_folder(folder) as fresh:
        write_model_files(fresh, model, tokenizer, defaults, family)
        return write_manifest(fresh, "model", model.config.model_dump(), inputs, report)


def write_model_files(
    folder: Path,
    model: Model,
    tokenizer: Tokenizer,
    defaults: GenerationDefaults,
    family: Family | None = None,
) -> None:
    """Write everything of a model folder but its manifest."""
    family, values = _choose_family(model.config, family)
    config = {
        "model_type": family.name,
        **values,
        "torch_dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.pad_id,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", "utf-8")
    write_weights(folder, model, family)
    tokenizer.save(folder)
    write_defaults(folder, defaults, tokenizer.stop_ids, tokenizer.pad_id)


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


def open_model(folder: Path, compute: Compute) -> tuple[Model, Tokenizer, GenerationDefaults]:
    """Open a model folder, ours or anyone's of a known family, in evaluation mode on `compute.device`.

    Weights are float32 in memory. Raises `CheckpointError` for a folder that is missing, incomplete,
    damaged, of a newer format or of an unknown kind of model.
    """
    folder = find_model(folder)
    family, config = read_config(folder)
    if (folder / MANIFEST).is_file():
        verify_files(folder, read_manifest(folder))
    tokenizer = Tokenizer.load(folder)
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            Text(
                f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, the model only {config.vocab_size}.",
                f"{folder}：分词器有 {tokenizer.vocab_size} 个词元，而模型只有 {config.vocab_size} 个。",
            ),
            Text("Use the tokenizer that belongs to this model.", "请使用与该模型配套的分词器。"),
        )
    model = build_empty(config, compute.device)
    read_weights(folder, model, family)
    return model.eval(), tokenizer, read_defaults(folder)


def find_model(folder: Path) -> Path:
    """`folder` itself, or the model inside it if it is the folder of a run or of its training."""
    candidates = [folder, folder / "model", folder / "pretrain" / "model"]
    for candidate in candidates:
        recover_folder(candidate)
    return next((path for path in candidates if (path / "config.json").is_file()), folder)


def read_config(folder: Path) -> tuple[Family, CoreConfig]:
    """The family and settings of a model folder, without its weights."""
    path = folder / "config.json"
    if not path.is_file():
        raise _no_config(folder)
    try:
        values = json.loads(path.read_text("utf-8"))
        kind = values.get("model_type")
        if kind not in FAMILIES:
            raise CheckpointError(
                Text(
                    f"{path}: model_type {kind!r} cannot be opened.",
                    f"{path}：无法打开 model_type 为 {kind!r} 的模型。",
                ),
                Text(
                    f"These can: {', '.join(sorted(FAMILIES))}.",
                    f"可以打开的有：{'、'.join(sorted(FAMILIES))}。",
                ),
            )
        return FAMILIES[kind], FAMILIES[kind].read(values)
    except (ValueError, KeyError, AttributeError, TypeError, ValidationError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(
            Text(f"{path} is damaged or incomplete: {reason}", f"{path} 已损坏或不完整：{reason}"),
            Text("Restore config.json from a copy.", "请从备份恢复 config.json。"),
        ) from error


def _choose_family(config: CoreConfig, wanted: Family | None) -> tuple[Family, dict[str, Any]]:
    """The first family that can express the model, the wanted one before all, and its config.json."""
    for family in (*([wanted] if wanted else []), *FAMILIES.values()):
        values = express(config, family)
        if values is not None:
            return family, values
    raise AssertionError("NATIVE expresses every config")


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

"""Which family a model is of when it is read, and which can express it when it is written."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hanlin.base.config import mistakes
from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text
from hanlin.base.manifest import read_manifest
from hanlin.checkpoint.families.bart import BART
from hanlin.checkpoint.families.bert import BERT
from hanlin.checkpoint.families.gemma3 import GEMMA3
from hanlin.checkpoint.families.glm4 import GLM4
from hanlin.checkpoint.families.gpt2 import GPT2
from hanlin.checkpoint.families.llama import LLAMA
from hanlin.checkpoint.families.marian import MARIAN
from hanlin.checkpoint.families.mistral import MISTRAL
from hanlin.checkpoint.families.mixtral import MIXTRAL
from hanlin.checkpoint.families.modernbert import MODERNBERT
from hanlin.checkpoint.families.native import NATIVE
from hanlin.checkpoint.families.qwen2 import QWEN2
from hanlin.checkpoint.families.qwen3 import QWEN3
from hanlin.checkpoint.families.qwen3_moe import QWEN3_MOE
from hanlin.checkpoint.families.roberta import ROBERTA
from hanlin.checkpoint.families.t5 import T5
from hanlin.checkpoint.family import Family, as_read, express
from hanlin.checkpoint.gguf.model import GgufModel, open_gguf
from hanlin.checkpoint.tensor_files import is_sharded
from hanlin.checkpoint.weights import tensor_names
from hanlin.model.config import CoreConfig
from hanlin.tokenizer.tokenizer import Tokenizer

_DECODERS = (LLAMA, GPT2, MISTRAL, QWEN2, QWEN3, GEMMA3, GLM4, MIXTRAL, QWEN3_MOE)

_OTHERS = (BERT, ROBERTA, MODERNBERT, BART, MARIAN, T5)

FAMILIES: dict[str, Family] = {family.name: family for family in (*_DECODERS, *_OTHERS, NATIVE)}
"""Every kind of config.json that opens; when writing, the first that can express the model is taken."""

GGUF = ".gguf"
"""The ending of a file that is a model by itself."""


def read_config(folder: Path) -> tuple[Family, CoreConfig]:
    """The family and settings of a model folder or GGUF file; of its weights, at most their names are read."""
    if folder.suffix == GGUF:
        return read_gguf_config(folder, open_gguf(folder))
    path = folder / "config.json"
    if not path.is_file():
        raise _no_config(folder)
    with _damage_told(path):
        values = json.loads(path.read_text("utf-8"))
        if not isinstance(values, dict):
            raise TypeError(f"settings are a {type(values).__name__}")
        kind = values.get("model_type")
        if kind not in FAMILIES:
            raise _unknown_kind(path, kind)
        if values.get("quantization_config"):
            raise _quantized(path)
        family, config = FAMILIES[kind], FAMILIES[kind].read(values)
        if family.settle is not as_read and is_sharded(
            folder
        ):  # names are ours; the manifest has all settings
            return family, CoreConfig.model_validate(read_manifest(folder).config["model"])
        if family.settle is not as_read:
            config = family.settle(config, tensor_names(folder, family))
        return family, config


def read_gguf_config(path: Path, opened: GgufModel) -> tuple[Family, CoreConfig]:
    """The family and settings of a GGUF file that is open already."""
    family = FAMILIES[opened.config["model_type"]]
    with _damage_told(path):
        return family, family.read(opened.config)


@contextlib.contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """Within it, settings that cannot be read are an error of ours that names their file."""
    try:
        yield
    except (ValueError, KeyError, AttributeError, TypeError, ArithmeticError, RecursionError) as error:
        reason = _reason(error)
        raise CheckpointError(
            Text(f"{path} is damaged or incomplete: {reason.en}", f"{path} 已损坏或不完整：{reason.zh}"),
            Text(f"Restore {path.name} from a copy.", f"请从备份恢复 {path.name}。"),
        ) from error


def _reason(error: Exception) -> Text:
    match error:
        case KeyError():
            return Text(f"{error} is missing", f"缺少 {error}")
        case ValidationError():
            return mistakes(error)
        case TypeError() | AttributeError():
            return Text(f"a value is of the wrong kind ({error})", f"某个值的类型不对（{error}）")
    return Text(str(error), str(error))


def choose_family(
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
    return CheckpointError(
        Text(
            f"{folder} is not a model folder: it has no config.json.",
            f"{folder} 不是模型目录：其中没有 config.json。",
        ),
        Text(
            "Give a folder with config.json, model.safetensors and tokenizer.json, or the folder of a run.",
            "请给出包含 config.json、model.safetensors 与 tokenizer.json 的目录，或一次运行的目录。",
        ),
    )

"""`hanlin convert`: a model in another dress: a folder in another dtype, or one GGUF file."""

from pathlib import Path
from typing import Any

import torch

from hanlin.base.device import choose_compute
from hanlin.base.errors import CheckpointError, ConfigError
from hanlin.base.language import Text
from hanlin.checkpoint.folder import find_model, open_model, save_model
from hanlin.checkpoint.gguf.quants import Quantization
from hanlin.checkpoint.gguf_file import write_model_gguf
from hanlin.checkpoint.recognize import read_config
from hanlin.checkpoint.sentence import sentence_files

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def run_convert(source: Path, target: Path, dtype: str | None, kind: Quantization | None) -> dict[str, Any]:
    """Write `source` (a folder, a .gguf file or a known name) as `target`: a folder, or a file ending in .gguf.

    dtype: of a folder's weights, float32 by default. kind: of a GGUF file's matrices, F16 by default. Raises
    `ConfigError` where an option does not fit the target or the target exists, `CheckpointError` for what can
    not be opened or expressed, `DiskError`. Values beyond the range of float16 are refused.
    """
    to_file = target.suffix == ".gguf"
    _check(target, dtype, kind, to_file)
    source = find_model(source)
    model, tokenizer, defaults = open_model(source, choose_compute("cpu"))
    family, _ = read_config(source)
    if not to_file:
        model = model.to(DTYPES[dtype or "float32"])
        _check_range(model)
        report, texts = {"converted_from": str(source)}, sentence_files(source)
        save_model(target, model, tokenizer, defaults, {}, report, family, texts=texts)
        family, _ = read_config(target)
    else:
        write_model_gguf(target, model, tokenizer, defaults, family, kind or "F16", "warn")
    files = [target] if to_file else [path for path in target.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    return {"target": str(target), "family": family.name, "bytes": size}


def _check(target: Path, dtype: str | None, kind: str | None, to_file: bool) -> None:
    if target.exists():
        raise ConfigError(
            Text(f"{target} exists already.", f"{target} 已存在。"),
            Text("Name another target, or delete it first.", "请另选目标，或先删除它。"),
        )
    if to_file and dtype is not None:
        raise ConfigError(
            Text("--dtype is for folders; a GGUF file has a kind.", "--dtype 用于目录；GGUF 文件用 --kind。"),
            Text("Write --kind F32, F16, Q8_0 or Q4_0.", "请写 --kind F32、F16、Q8_0 或 Q4_0。"),
        )
    if not to_file and kind is not None:
        raise ConfigError(
            Text(f"--kind {kind} is for GGUF files; {target} would be a folder.",
                 f"--kind {kind} 用于 GGUF 文件；{target} 会是目录。"),
            Text("Let the target end in .gguf, or use --dtype.", "请让目标以 .gguf 结尾，或使用 --dtype。"),
        )  # fmt: skip


def _check_range(model: torch.nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise CheckpointError(
                Text(f"{name} has values that are not finite in {parameter.dtype}.",
                     f"{name} 中有些值在 {parameter.dtype} 下不是有限数。"),
                Text("Use --dtype bfloat16 or float32.", "请使用 --dtype bfloat16 或 float32。"),
            )  # fmt: skip

"""`hanlin show model`: what a model is made of and what it costs, from its settings alone."""

import math
import re
from pathlib import Path
from typing import Any

from hanlin.base.language import Text
from hanlin.checkpoint.folder import find_model, read_config
from hanlin.model import count
from hanlin.model.assemble import build_outline
from hanlin.model.config import CoreConfig

BYTES = {"float32": 4, "float16 / bfloat16": 2, "Q8_0": 34 / 32, "Q4_0": 18 / 32}
"""Bytes of one value; the GGUF formats store a scale for each 32 of them, and keep some tensors larger."""


def describe_model(folder: Path) -> dict[str, Any]:
    """Family, settings, parameter table, memory by dtype, and costs by token. Raises `CheckpointError`."""
    family, config = read_config(find_model(folder))
    total = count.parameters(config)
    active = count.matmul_parameters(config)
    return {
        "family": family.name,
        "settings": config.model_dump(mode="json"),
        "parameters": total,
        "parameter_table": parameter_table(config),
        "memory_bytes": {dtype: round(total * size) for dtype, size in BYTES.items()},
        "cache_bytes_per_token": count.cache_bytes_per_token(config),
        "matmul_parameters_per_token": active,
        "forward_flops_per_token": count.forward_flops_per_token(config, config.window),
    }


def parameter_table(config: CoreConfig) -> list[dict[str, Any]]:
    """One row for each kind of tensor; those of all blocks are one row: name, shape, how many, parameters."""
    rows: dict[tuple[str, tuple[int, ...]], int] = {}
    for name, parameter in build_outline(config).named_parameters():
        key = (re.sub(r"\.\d+(?=\.)", ".*", name), tuple(parameter.shape))
        rows[key] = rows.get(key, 0) + 1
    return [
        {"name": name, "shape": list(shape), "tensors": tensors, "parameters": tensors * math.prod(shape)}
        for (name, shape), tensors in rows.items()
    ]


def model_lines(description: dict[str, Any]) -> list[str]:
    """The description as a page for the terminal."""
    settings, total = description["settings"], description["parameters"]
    lines = [
        f"{Text('family', '家族')}: {description['family']}, {settings['assembly']}, head {settings['head']}",
        f"{Text('parameters', '参数')}: {total:,}",
        "",
        f"{Text('tensor', '张量'):<44} {Text('shape', '形状'):<18} {Text('tensors', '个数'):>7} "
        f"{Text('parameters', '参数'):>15} {Text('share', '占比'):>7}",
    ]
    for row in description["parameter_table"]:
        shape = " x ".join(map(str, row["shape"]))
        share = row["parameters"] / total
        lines.append(
            f"{row['name']:<44} {shape:<18} {row['tensors']:>7} {row['parameters']:>15,} {share:>7.1%}"
        )
    lines.append("")
    for dtype, size in description["memory_bytes"].items():
        lines.append(f"{Text('weights in', '权重，')} {dtype:<20} {size / 2**20:>12,.1f} MiB")
    cache = description["cache_bytes_per_token"]
    whole = cache * settings["window"]
    lines += [
        f"{Text('cache', '缓存')}: {cache:,} {Text('bytes a token', '字节/词元')} (float32); "
        f"{whole / 2**20:,.1f} MiB {Text('for a whole window of', '，整个窗口')} {settings['window']:,}",
        f"{Text('forward pass', '前向计算')}: {description['forward_flops_per_token'] / 1e6:,.1f} "
        f"{Text('MFLOP a token at the full window', 'MFLOP/词元（满窗口）')}",
        "",
        f"{Text('settings', '设置')}:",
        *(f"  {name}: {value}" for name, value in _telling(settings).items()),
    ]
    return lines


def _telling(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that say something: switched-off parts are left out."""
    return {name: value for name, value in settings.items() if value not in (None, False, 0, [], "none")}

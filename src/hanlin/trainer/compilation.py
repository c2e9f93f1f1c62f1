"""Whether a run repays `torch.compile`: decided by its settings alone, so that a resumed run decides alike."""

import os
import shutil

from hanlin.base.device import Compute
from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.trainer.config import TrainingConfig

REPAID_FROM = 10**17
"""Floating-point operations of a run on a GPU from which compiling, a minute or so, is repaid: at a third of the rate of
a large GPU they take several minutes. Not measured here."""


def is_compiled(config: TrainingConfig, compute: Compute, flops: int) -> bool:
    """Whether training passes are compiled. flops: of the whole run.

    Raises `ConfigError` where `always` is asked for and there is no C++ compiler, which torch needs on a CPU.
    """
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

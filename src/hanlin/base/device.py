"""The device and the number format of a run, chosen once and passed on as values."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
PrecisionName = Literal["auto", "float32", "bfloat16", "float16"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Compute:
    """Where tensors live and in which format matrix products run; weights stay float32 while training."""

    device: torch.device
    precision: torch.dtype

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """The context under which a forward pass runs."""
        if self.precision == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.precision)

    def describe(self) -> str:
        """For people: 'cpu, 2 threads, float32'."""
        precision = str(self.precision).removeprefix("torch.")
        if self.device.type == "cuda":
            return f"{torch.cuda.get_device_name(self.device)}, {precision}"
        return f"{self.device.type}, {torch.get_num_threads()} threads, {precision}"


def choose_compute(device: DeviceName = "auto", precision: PrecisionName = "auto") -> Compute:
    """Pick the best device there is unless one is named; raise `ConfigError` if the named one is absent.

    Automatic precision is bfloat16 on a GPU that has it and float32 elsewhere: half-precision products
    on CPUs without native support are hundreds of times slower than float32.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    name = device if device != "auto" else "cuda" if available["cuda"] else "cpu"
    if not available.get(name):
        raise ConfigError(
            Text(f"device '{name}' is not available on this machine.", f"这台机器上没有设备“{name}”。"),
            Text(
                "Use device: auto, or run `hanlin doctor` to see what works here.",
                "请用 device: auto，或运行 `hanlin doctor` 查看本机可用的设备。",
            ),
        )
    if precision == "auto":
        precision = "bfloat16" if name == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    return Compute(torch.device(name), _DTYPES[precision])


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Within it torch computes in one thread. For the little that is done between two calls of a library with threads of its
    own: after a job of several, torch's go on turning for a while, on the cores that the other is about to use."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def measure_peak_flops(compute: Compute, seconds: float = 0.3) -> float:
    """Floating-point operations a second of a large matrix product on this device: the best of several."""
    n = 1024 if compute.device.type == "cpu" else 4096
    # Ones, not random numbers: measuring must not move the random state of a run.
    a, b = (torch.ones(n, n, device=compute.device, dtype=compute.precision) for _ in range(2))
    best, spent = float("inf"), 0.0
    while spent < seconds:
        start = time.perf_counter()
        (a @ b)[0, 0].item()
        elapsed = time.perf_counter() - start
        best, spent = min(best, elapsed), spent + elapsed
    return 2 * n**3 / best

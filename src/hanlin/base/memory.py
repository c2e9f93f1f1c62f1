"""The peak memory of a piece of work: of this process on a CPU, of torch's allocator on a GPU."""

import contextlib
import ctypes
import gc
import threading
from collections.abc import Iterator

import psutil
import torch

from hanlin.base.errors import TrainingError
from hanlin.base.language import Text

_SECONDS_BETWEEN_LOOKS = 0.002

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""Names of glibc's settings: from which size on a block is mapped apart, and how much may lie free at the end."""


def used_bytes(device: torch.device) -> int:
    """Bytes held now."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    resident: int = psutil.Process().memory_info().rss
    return resident


def release_freed_memory() -> None:
    """Give what was freed back to the system, so that it does not hide what is taken next (glibc; elsewhere nothing)."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def keep_freed_memory(largest: int = 2**30) -> None:
    """From here on freed blocks of up to `largest` bytes stay with this process (glibc; elsewhere nothing).

    A training step takes and frees the same blocks as the one before. As glibc has it, large ones go back to the system
    each time, which must then clear every page anew: at 124M parameters 0.6 s of a step of 6.4 s. A low `largest` takes
    that time and holds less at the peak, as what is freed between blocks that stay cannot be used for larger ones.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        # Older versions refuse more than 32 MiB, and then take that.
        libc.mallopt(_MMAP_THRESHOLD, largest) or libc.mallopt(_MMAP_THRESHOLD, min(largest, 2**25))
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1 if largest >= 2**25 else 2**17)


@contextlib.contextmanager
def memory_errors() -> Iterator[None]:
    """Turn torch's failure to get memory into a `TrainingError` that says what makes a run smaller."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        refused = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not refused and "can't allocate memory" not in str(error):
            raise
        reason = (
            str(error).partition("DefaultCPUAllocator: ")[2] or str(error) or "out of memory"
        ).splitlines()[0]
        raise TrainingError(
            Text(f"The memory of this machine is not enough: {reason}", f"本机内存不足：{reason}"),
            Text(
                "Lower pretrain.micro_rows, pretrain.batch_rows, model.window or the size of the model.",
                "请减小 pretrain.micro_rows、pretrain.batch_rows、model.window 或模型规模。",
            ),
        ) from error


class PeakMemory:
    """As a context: `peak` is the most bytes held at any moment of it (on a CPU: of those looked at)."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.peak = 0
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            self._watcher.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.device.type == "cuda":
            self.peak = torch.cuda.max_memory_allocated(self.device)
        else:
            self._done.set()
            self._watcher.join()

    def _watch(self) -> None:
        while True:
            self.peak = max(self.peak, used_bytes(self.device))
            if self._done.wait(_SECONDS_BETWEEN_LOOKS):
                return

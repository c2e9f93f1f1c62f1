"""The peak memory of a piece of work: of this process on a CPU, of torch's allocator on a GPU."""

import threading

import psutil
import torch

_SECONDS_BETWEEN_LOOKS = 0.002


def used_bytes(device: torch.device) -> int:
    """Bytes held now."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    resident: int = psutil.Process().memory_info().rss
    return resident


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

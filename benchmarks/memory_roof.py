"""How fast this machine reads memory: the sum of an array far larger than its caches, by several threads, in C."""

import ctypes
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

_SOURCE = """
#include <stddef.h>
#include <stdint.h>
uint64_t sum(const uint64_t *values, size_t count, int threads) {
    uint64_t total = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : total) schedule(static)
    for (size_t i = 0; i < count; i++) total += values[i];
    return total;
}
"""
_BYTES = 2**29


class MemoryRoof:
    """A compiled sum, and what it reads."""

    def __init__(self, threads: int) -> None:
        """Needs a C compiler with OpenMP."""
        self.threads = threads
        with TemporaryDirectory() as folder:
            source, library = Path(folder) / "sum.c", Path(folder) / "sum.so"
            source.write_text(_SOURCE)
            flags = ["-O3", "-march=native", "-fopenmp", "-shared", "-fPIC"]
            subprocess.run(["cc", *flags, str(source), "-o", str(library)], check=True)
            self._sum = ctypes.CDLL(str(library)).sum
        self._sum.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        self._sum.restype = ctypes.c_uint64
        self._values = np.ones(_BYTES // 8, np.uint64)
        self.measure()

    def measure(self) -> float:
        """Bytes a second: the best of three passes."""
        return max(self._once() for _ in range(3))

    def _once(self) -> float:
        start = time.perf_counter()
        assert self._sum(self._values.ctypes.data, len(self._values), self.threads) == len(self._values)
        return _BYTES / (time.perf_counter() - start)


if __name__ == "__main__":
    for threads in (1, 2):
        print(f"{threads} threads: {MemoryRoof(threads).measure() / 1e9:.1f} GB/s")

"""The native kernel's products beside the machine's limits and PyTorch: `python benchmarks/kernel_speed.py [columns]`.

One input over 300 MB of weights that are in no cache: bytes of weights a second, beside a plain read of the same memory
(torch.max). 8 and 512 inputs over 1536 rows: operations (two for each weight and input) a second, beside torch's
float32 product of the same shape. All are measured in turn, and a ratio is the median of those of one round each.

Time is the processor time of the thread that takes longest: what waits for memory counts, what waits for a core that
another process holds does not. Threads take equal ranges of rows.
"""

import ctypes
import mmap
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hanlin.kernel.build import library_path
from hanlin.kernel.library import F32, Q4_0, Q4_1, Q8_0, Matrix

FORMATS = {"Q8_0": Q8_0, "Q4_1": Q4_1, "Q4_0": Q4_0, "F32": F32}
COLD_BYTES, WARM_ROWS, GROUP, ROUNDS = 300 << 20, 1536, 16, 11

kernel = ctypes.CDLL(str(library_path()))
kernel.hanlin_packed_bytes.restype = kernel.hanlin_prepared_bytes.restype = ctypes.c_size_t


class Inputs(ctypes.Structure):
    _fields_ = (
        ("count", ctypes.c_int32),
        ("columns", ctypes.c_int32),
        ("values", ctypes.c_void_p),
        ("prepared", ctypes.c_void_p),
    )


def main() -> None:
    columns = int(sys.argv[1]) if len(sys.argv) > 1 else 576
    torch.set_num_threads(1)  # threads here are ours
    sets = [
        name
        for name in ("avx512-vnni", "avx2", "neon-dotprod", "neon", "generic")
        if kernel.hanlin_use(name.encode())
    ]
    print(f"{columns} columns; read: GB/s of a plain read; torch: GFLOP/s of its float32 product")
    for threads in (1, 2):
        for name, format in FORMATS.items():
            cold(name, format, columns, threads, sets)
        for count in (8, 512):
            for name, format in FORMATS.items():
                warm(name, format, columns, count, threads, sets)


def cold(name: str, format: int, columns: int, threads: int, sets: list[str]) -> None:
    rows = COLD_BYTES // (kernel.hanlin_packed_bytes(format, GROUP, columns) // GROUP) // 64 * 64
    product = Product(format, rows, columns, 1)
    plain = torch.from_numpy(product.memory.view(np.float32))
    plain = plain[: len(plain) // 64 * 64]
    size = len(plain) // threads

    def read(part: int) -> None:
        plain[part * size : (part + 1) * size].max()

    runs = {"read": read} | {one: product.part(one, threads) for one in sets}
    report(f"{name:<5} 1 input,    {threads} threads", "GB/s", product.memory.nbytes, race(runs, threads))


def warm(name: str, format: int, columns: int, count: int, threads: int, sets: list[str]) -> None:
    product = Product(format, WARM_ROWS, columns, count)
    weights = torch.randn(WARM_ROWS, columns).chunk(threads)
    values = torch.from_numpy(product.values)

    def multiply(part: int) -> None:
        values @ weights[part].T

    runs = {"torch": multiply} | {one: product.part(one, threads) for one in sets}
    operations = 2 * WARM_ROWS * columns * count
    report(f"{name:<5} {count:>3} inputs, {threads} threads", "GOP/s", operations, race(runs, threads))


class Product:
    """A packed matrix of small weights in large pages, and inputs for it."""

    def __init__(self, format: int, rows: int, columns: int, count: int) -> None:
        size = kernel.hanlin_packed_bytes(format, rows, columns)
        pages = mmap.mmap(-1, size)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            pages.madvise(mmap.MADV_HUGEPAGE)
        self.memory = np.frombuffer(pages, np.uint8)
        self.memory[:] = 0x11  # half floats and floats alike are small numbers then
        self.matrix = Matrix(self.memory.ctypes.data, rows, columns, format)
        self.values = np.random.default_rng(0).standard_normal((count, columns)).astype(np.float32)
        self.prepared = np.empty(kernel.hanlin_prepared_bytes(format, count, columns), np.uint8)
        self.inputs = Inputs(count, columns, self.values.ctypes.data, self.prepared.ctypes.data)
        kernel.hanlin_prepare(format, ctypes.byref(self.inputs), 0, count)
        self.out = np.zeros((count, rows), np.float32)
        self.groups = rows // GROUP

    def part(self, instructions: str, threads: int) -> Callable[[int], None]:
        def multiply(part: int) -> None:
            first, last = (self.groups * i // threads for i in (part, part + 1))
            stride = ctypes.c_size_t(self.out.shape[1])
            out = ctypes.c_void_p(self.out.ctypes.data)
            kernel.hanlin_multiply(
                ctypes.byref(self.matrix), ctypes.byref(self.inputs), out, stride, first, last
            )

        multiply.instructions = instructions.encode()  # type: ignore[attr-defined]
        return multiply


def race(runs: dict[str, Callable[[int], None]], threads: int) -> dict[str, list[float]]:
    """Seconds of each, in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS + 1):
        for name, run in runs.items():
            if hasattr(run, "instructions"):
                kernel.hanlin_use(run.instructions)
            seconds[name].append(slowest(run, threads))
    return {name: taken[1:] for name, taken in seconds.items()}


def slowest(run: Callable[[int], None], threads: int) -> float:
    taken = [0.0] * threads

    def timed(part: int) -> None:
        start = time.thread_time()
        run(part)
        taken[part] = time.thread_time() - start

    team = [threading.Thread(target=timed, args=(part,)) for part in range(threads)]
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()
    return max(taken)


def report(title: str, unit: str, amount: int, seconds: dict[str, list[float]]) -> None:
    limit, *_ = seconds
    parts: list[Any] = [title, unit]
    for name, taken in seconds.items():
        speed = f"{name} {amount / statistics.median(taken) / 1e9:.1f} (best {amount / min(taken) / 1e9:.1f})"
        ratio = statistics.median(a / b for a, b in zip(seconds[limit], taken, strict=True))
        parts.append(speed if name == limit else f"{speed} x{ratio:.2f}")
    print("  ".join(parts), flush=True)


if __name__ == "__main__":
    main()

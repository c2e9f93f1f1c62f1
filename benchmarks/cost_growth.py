"""How the cost of a training step grows with length, width and batch, and that of the data code with tokens.

Each cost is fitted as a power, cost = c x size^p, over the whole curve; p is printed. A step of T tokens costs a T + b T^2
by its equations, so that p for the length lies between 1 and 2; for the width between 1 and 2 as well, as embeddings,
norms and attention grow with the width and matrices with its square; for the batch 1, less what does not depend on it.
"""

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from hanlin.base.device import choose_compute
from hanlin.base.memory import keep_freed_memory
from hanlin.batches.batch import Batch
from hanlin.batches.loader import Loader
from hanlin.batches.pack import PackedRows
from hanlin.batches.ragged import lay_batch
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.objective.causal import Causal
from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.learner import Learner
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.step import training_step


def main() -> None:
    torch.set_num_threads(2)
    keep_freed_memory()
    print("seconds a training step: 4 layers of 256, 8 x 128 tokens, vocabulary 1024, but for what is varied")
    tell("length", [64, 128, 256, 512, 1024], lambda length: step_seconds(length=length))
    tell("width", [128, 256, 512, 768], lambda width: step_seconds(width=width))
    tell("rows", [2, 4, 8, 16, 32], lambda rows: step_seconds(rows=rows))
    print("seconds for all tokens")
    tokens = [10**5, 10**6, 10**7]
    tell("packing an epoch", tokens, packing_seconds)
    tell("laying out ragged rows", tokens, ragged_seconds)
    tell("one row out of many", tokens, seeking_seconds)


def tell(what: str, sizes: Sequence[int], cost: Callable[[int], float]) -> None:
    costs = [cost(size) for size in sizes]
    power = np.polyfit([math.log(size) for size in sizes], [math.log(one) for one in costs], 1)[0]
    curve = "  ".join(f"{size:,}: {one:.4f}" for size, one in zip(sizes, costs, strict=True))
    print(f"  {what:<24} {curve}  exponent {power:.2f}", flush=True)


def step_seconds(length: int = 128, width: int = 256, rows: int = 8) -> float:
    """The best of several."""
    core = CoreConfig(vocab_size=1024, width=width, layers=4, heads=width // 64, window=length)
    model, compute = Decoder(core).train(), choose_compute("cpu")
    optimizers = build_optimizers(model, PretrainConfig(optimizer="adamw"))
    learner = Learner(model)
    tokens = torch.randint(1024, (rows, length + 1))
    batch = Batch(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())

    def step() -> None:
        training_step(
            learner, Causal(), optimizers, batch, compute, micro_rows=rows, clip=1.0, on_nonfinite="stop"
        )

    return best_seconds(step, 6)


def best_seconds(work: Callable[[], object], times: int) -> float:
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return min(spent)


def stream_of(tokens: int) -> np.ndarray:
    """Documents of a hundred tokens or so, as in a token store: 0 begins one."""
    stream = np.random.default_rng(0).integers(1, 1000, tokens + 1).astype(np.uint16)
    stream[np.random.default_rng(1).random(tokens + 1) < 0.01] = 0
    return stream


def packing_seconds(tokens: int) -> float:
    loader = Loader(PackedRows(stream_of(tokens), 256, 0, separate=True), rows=16)
    steps = tokens // (16 * 256)

    def epoch() -> None:
        batches = loader.stream(0)
        for _ in range(steps):
            next(batches)

    return best_seconds(epoch, 2)


def ragged_seconds(tokens: int) -> float:
    lengths = np.random.default_rng(0).integers(20, 200, tokens // 110)
    texts = [np.arange(length) for length in lengths]

    def epoch() -> None:
        for start in range(0, len(texts), 16):
            some = texts[start : start + 16]
            lay_batch(some, some, "packed", 0)

    return best_seconds(epoch, 2)


def seeking_seconds(tokens: int) -> float:
    """The first batch of a run that goes on in the middle of its second epoch."""
    loader = Loader(PackedRows(stream_of(tokens), 256, 0, separate=True), rows=16)
    return best_seconds(lambda: next(loader.stream(tokens // 256 * 3 // 2)), 5)


if __name__ == "__main__":
    main()

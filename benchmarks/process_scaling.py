"""Tokens/s of whole training steps: one process with one thread, two with one each, one with two threads.

What two processes reach over one is what their talking (gloo) leaves of the second core; one process with two threads
is what they are to be compared with on one machine. float32, AdamW, random tokens.
"""

import json
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from hanlin.base.device import Compute
from hanlin.base.distributed import rank, ranks
from hanlin.batches.batch import Batch
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.objective.causal import Causal
from hanlin.stages.launch import launch
from hanlin.trainer.config import Distribution, TrainingConfig
from hanlin.trainer.learner import Learner
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.parallel import distribute
from hanlin.trainer.step import training_step

SHAPES = ((128, 4, 2, 256), (384, 6, 6, 256))
ROWS, STEPS, ROUNDS = 4, 2, 3
CPU = Compute(torch.device("cpu"), torch.float32)


def measure(distribution: Distribution, out: Path) -> None:
    """Write the best rate of several rounds for each shape, over all processes."""
    rates = []
    for width, layers, heads, length in SHAPES:
        core = CoreConfig(vocab_size=2048, width=width, layers=layers, heads=heads, window=length)
        learner = Learner(Decoder(core))
        distribute(learner, distribution, CPU)
        optimizers = build_optimizers(learner.model, TrainingConfig(steps=100, optimizer="adamw"))
        tokens = torch.randint(2048, (ROWS // ranks(), length + 1))
        batch = Batch(tokens[:, :-1], tokens[:, 1:])
        best = 0.0
        for warm in range(1 + ROUNDS):
            start = time.perf_counter()
            for _ in range(STEPS):
                training_step(
                    learner, Causal(), optimizers, batch, CPU, micro_rows=ROWS, clip=1.0, on_nonfinite="stop"
                )
            if warm:
                best = max(best, STEPS * ROWS * length / (time.perf_counter() - start))
        rates.append(best)
    if rank() == 0:
        out.write_text(json.dumps(rates))


def main() -> None:
    with TemporaryDirectory() as folder:
        out = Path(folder) / "rates.json"
        found = {}
        kinds: tuple[tuple[int, int, Distribution], ...] = (
            (1, 1, "replicate"), (2, 1, "replicate"), (2, 1, "shard"), (1, 2, "replicate"),
        )  # fmt: skip
        for processes, threads, distribution in kinds:
            torch.set_num_threads(processes * threads)  # `launch` divides them
            launch(partial(measure, distribution, out), processes)
            found[f"{processes} x {threads} threads, {distribution}"] = json.loads(out.read_text())
    base = found["1 x 1 threads, replicate"]
    for number, (width, layers, _, length) in enumerate(SHAPES):
        print(f"width {width}, {layers} layers, {ROWS} x {length} tokens a step (best of {ROUNDS} rounds)")
        for name, rates in found.items():
            print(f"  {name:<26} {rates[number]:>9,.0f} tokens/s   {rates[number] / base[number]:.2f}x")


if __name__ == "__main__":
    main()

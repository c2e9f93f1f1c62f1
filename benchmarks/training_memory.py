"""Peak memory of training 124M parameters with a vocabulary of 50257 (c of training_speed.py), beside transformers' Trainer.

Each run in a process of its own: the most memory resident in it, the interpreter and torch included.
"""

import statistics

from in_turn import Worker, race, three
from training_speed import SHAPES, ours, theirs, transformers_trainer


def main() -> None:
    shape = SHAPES["c"]
    hanlin = Worker("hanlin", ours, shape, False)
    spared = Worker("hanlin, checkpointing", ours, shape, False, True)
    workers = [
        hanlin,
        spared,
        Worker("nanoGPT", theirs, shape, False),
        Worker("transformers Trainer", transformers_trainer, shape),
    ]
    race(workers, steps=1, rounds=3)
    peer = workers[-1]
    for worker in workers:
        print(
            f"  {worker.name:<22} peak {worker.peak / 2**20:,.0f} MB, {worker.peak / peer.peak:.2f} of {peer.name}"
            f"  {three(worker.seconds)} s a step"
        )
        worker.stop()
    slower = statistics.median([b / a for a, b in zip(hanlin.seconds, spared.seconds, strict=True)])
    print(f"  checkpointing takes {slower:.2f} times as long a step")


if __name__ == "__main__":
    main()

"""A whole training step (forward, backward, clipping, AdamW) beside nanoGPT-style code and transformers' Trainer.

Three models (a, b, c), the same shape, tokens and arithmetic for all: float32, two threads. Each side eager and compiled,
in processes of their own that take turns. `training_speed.py [a b c]`; c takes five minutes.

Share of the GEMM rate: model operations over those of a 1024 x 1024 float32 product in the same round. Model operations
a token: 6 x weights of matrices, the tied head once, + 6 x layers x width x length for causal attention.
"""

import statistics
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from in_turn import Pace, Worker, race, ratios, three
from peers.nanogpt import GPT, Training
from torch import Tensor

from hanlin.base.device import choose_compute
from hanlin.base.memory import keep_freed_memory
from hanlin.batches.batch import Batch
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.objective.causal import Causal
from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.learner import Learner
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.step import training_step


class Shape(NamedTuple):
    layers: int
    width: int
    heads: int
    length: int
    rows: int
    vocab_size: int
    steps: int
    """Steps in a round."""
    rounds: int

    @property
    def operations(self) -> int:
        """Of one step."""
        weights = 12 * self.layers * self.width**2 + self.vocab_size * self.width
        return 6 * self.tokens * (weights + self.layers * self.width * self.length)

    @property
    def tokens(self) -> int:
        """Of one step."""
        return self.rows * self.length


SHAPES = {
    "a": Shape(4, 128, 4, 64, 12, 65, steps=40, rounds=9),
    "b": Shape(6, 384, 6, 256, 8, 65, steps=2, rounds=5),
    "c": Shape(12, 768, 12, 512, 2, 50257, steps=1, rounds=3),
}


def main() -> None:
    for name in sys.argv[1:] or SHAPES:
        shape = SHAPES[name]
        print(
            f"{name}: {shape.layers} layers of {shape.width}, {shape.rows} x {shape.length} tokens a step, "
            f"vocabulary {shape.vocab_size}",
            flush=True,
        )
        hanlin = [Worker("hanlin", ours, shape, False), Worker("hanlin compiled", ours, shape, True)]
        nanogpt = [Worker("nanoGPT", theirs, shape, False), Worker("nanoGPT compiled", theirs, shape, True)]
        trainer = Worker("transformers Trainer", transformers_trainer, shape)
        workers = [*hanlin, *nanogpt, trainer]
        rates = race(workers, shape.steps, shape.rounds, warmup=shape.steps)
        for worker in workers:
            speeds = [shape.tokens / seconds for seconds in worker.seconds]
            shares = [
                shape.operations / seconds / rate for seconds, rate in zip(worker.seconds, rates, strict=True)
            ]
            print(
                f"  {worker.name:<22} {three(speeds, ',.0f')} tokens/s  {three(shares)} of the GEMM rate"
                f"  peak {worker.peak / 2**20:,.0f} MB  loss {worker.loss:.3f}"
            )
            worker.stop()
        best = min(hanlin, key=lambda worker: statistics.median(worker.seconds))
        peer = min(nanogpt, key=lambda worker: statistics.median(worker.seconds))
        print(f"  {best.name} : {peer.name}  {three(ratios(peer, best))}")
        print(f"  {best.name} : {trainer.name}  {three(ratios(trainer, best))}")
        print(f"  GEMM rate {three([rate / 1e9 for rate in rates], '.0f')} GFLOP/s\n", flush=True)


def data(shape: Shape) -> Iterator[tuple[Tensor, Tensor]]:
    """Tokens and their targets: of each token the next is one of four, so that there is something to learn."""
    random = torch.Generator().manual_seed(0)
    while True:
        rows = torch.randint(shape.vocab_size, (shape.rows, 1), generator=random)
        steps = torch.randint(1, 5, (shape.rows, shape.length), generator=random).cumsum(1)
        rows = torch.cat((rows, rows + steps), dim=1) % shape.vocab_size
        yield rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


def ours(pace: Pace, shape: Shape, compiled: bool, checkpointing: bool = False) -> None:
    keep_freed_memory(2**21 if checkpointing else 2**30)
    core = CoreConfig(
        style="gpt2",  # type: ignore[call-arg]
        vocab_size=shape.vocab_size,
        width=shape.width,
        layers=shape.layers,
        heads=shape.heads,
        window=shape.length,
    )
    model, compute = Decoder(core).train(), choose_compute("cpu")
    model.checkpointing = checkpointing
    config = PretrainConfig(steps=1000, optimizer="adamw", learning_rate=1e-3)
    optimizers = build_optimizers(model, config)
    learner: Any = Learner(model)
    if compiled:
        learner.compile()
    pace.step()
    for tokens_BT, targets_BT in data(shape):
        result = training_step(
            learner,
            Causal(),
            optimizers,
            Batch(tokens_BT, targets_BT),
            compute,
            micro_rows=shape.rows,
            clip=1.0,
            on_nonfinite="stop",
        )
        pace.step(result.loss)


def theirs(pace: Pace, shape: Shape, compiled: bool) -> None:
    model = GPT(shape.vocab_size, shape.width, shape.layers, shape.heads, shape.length)
    training = Training(model, compiled=compiled)
    pace.step()
    for tokens_BT, targets_BT in data(shape):
        pace.step(training.step(tokens_BT, targets_BT))


def transformers_trainer(pace: Pace, shape: Shape) -> None:
    """As it runs by default, but for dropout, which the others do not have, and for reports, which it does not make."""
    import transformers

    transformers.logging.set_verbosity_error()
    config = transformers.GPT2Config(
        vocab_size=shape.vocab_size,
        n_embd=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        n_positions=shape.length,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    model = transformers.GPT2LMHeadModel(config)
    batches = data(shape)
    # It shifts labels itself: of `length` tokens it predicts all but the first.
    rows = [row for _ in range(100) for row in next(batches)[0]]
    dataset = [{"input_ids": row, "labels": row} for row in rows]
    train_with_trainer(pace, model, dataset, shape.rows)


def train_with_trainer(
    pace: Pace, model: Any, dataset: Any, rows: int, collator: Any = None, rate: float = 1e-3
) -> None:
    import transformers

    class Turns(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            pace.step(losses[-1])

    class Watched(transformers.Trainer):  # type: ignore[misc]
        def training_step(self, *given: Any, **named: Any) -> Tensor:
            loss: Tensor = super().training_step(*given, **named)
            losses.append(float(loss))
            return loss

        def _get_train_sampler(self, *given: Any) -> Any:
            return torch.utils.data.SequentialSampler(dataset)

    losses: list[float] = []
    arguments = transformers.TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        max_steps=10**6,
        per_device_train_batch_size=rows,
        learning_rate=rate,
        lr_scheduler_type="constant",
        weight_decay=0.1,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Watched(model, arguments, train_dataset=dataset, data_collator=collator, callbacks=[Turns()])
    pace.step()
    trainer.train()


if __name__ == "__main__":
    main()

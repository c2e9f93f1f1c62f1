"""Fine-tuning on rows of 20 to 200 tokens: rows a second beside transformers' Trainer, padded and padding-free.

A GPT of 6 layers of 384 and a vocabulary of 8192, 16 rows a step, float32, two threads. Ours: the rows of a batch one
after another, each attended to alone (`layout: packed`). Trainer: GPT2LMHeadModel with batches padded to their longest
row, and with `DataCollatorWithFlattening`. All see the same rows in the same order.
"""

import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from in_turn import Pace, Worker, race, ratios, three
from training_speed import train_with_trainer

from hanlin.base.device import choose_compute
from hanlin.base.memory import keep_freed_memory
from hanlin.batches.batch import IGNORE
from hanlin.batches.ragged import lay_batch
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.objective.causal import Causal
from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.learner import Learner
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.step import training_step

LAYERS, WIDTH, HEADS, WINDOW, VOCAB, ROWS = 6, 384, 6, 256, 8192, 16
STEPS, ROUNDS = 4, 7


def main() -> None:
    hanlin = Worker("hanlin packed", ours, "packed")
    peers = [Worker(f"Trainer {kind}", theirs, kind) for kind in ("padded", "padding-free")]
    workers = [hanlin, Worker("hanlin padded", ours, "padded"), *peers]
    race(workers, STEPS, ROUNDS)
    lengths = [len(row) for _, row in zip(range(1000), rows(), strict=False)]
    print(f"rows of {min(lengths)} to {max(lengths)} tokens, {statistics.mean(lengths):.0f} in the mean")
    for worker in workers:
        speeds = [ROWS / seconds for seconds in worker.seconds]
        print(f"  {worker.name:<22} {three(speeds, '.1f')} rows/s  loss {worker.loss:.3f}")
        worker.stop()
    for peer in peers:
        print(f"  hanlin packed : {peer.name}  {three(ratios(peer, hanlin))}")


def rows() -> Iterator[np.ndarray]:
    """Most are short, as instructions and answers are; of each token the next is one of four."""
    random = np.random.default_rng(0)
    while True:
        length = int(np.clip(20 + random.exponential(60), 20, 200))
        yield (random.integers(VOCAB) + random.integers(1, 5, length).cumsum()) % VOCAB


def ours(pace: Pace, layout: Any) -> None:
    keep_freed_memory()
    core = CoreConfig(
        style="gpt2",  # type: ignore[call-arg]
        vocab_size=VOCAB,
        width=WIDTH,
        layers=LAYERS,
        heads=HEADS,
        window=WINDOW,
    )
    model, compute = Decoder(core).train(), choose_compute("cpu")
    config = PretrainConfig(steps=1000, optimizer="adamw", learning_rate=3e-4, betas=(0.9, 0.999))
    optimizers, learner, stream = build_optimizers(model, config), Learner(model), rows()
    pace.step()
    while True:
        texts = [next(stream) for _ in range(ROWS)]
        # As transformers has it: the last token of a row predicts nothing.
        targets = [np.append(text[1:], IGNORE) for text in texts]
        batch = lay_batch(texts, targets, layout, pad_id=0)
        result = training_step(
            learner, Causal(), optimizers, batch, compute, micro_rows=ROWS, clip=1.0, on_nonfinite="stop"
        )
        pace.step(result.loss)


def theirs(pace: Pace, kind: str) -> None:
    import transformers

    transformers.logging.set_verbosity_error()
    config = transformers.GPT2Config(
        vocab_size=VOCAB,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        n_positions=WINDOW,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    model = transformers.GPT2LMHeadModel(config)
    dataset = [
        {"input_ids": row.tolist(), "labels": row.tolist()}
        for _, row in zip(range(3000), rows(), strict=False)
    ]
    collator = padded if kind == "padded" else transformers.DataCollatorWithFlattening()
    train_with_trainer(pace, model, dataset, ROWS, collator, rate=3e-4)


def padded(examples: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """What `DataCollatorForSeq2Seq` makes of them; that one needs a tokenizer."""
    ids = [torch.tensor(example["input_ids"]) for example in examples]
    pad = torch.nn.utils.rnn.pad_sequence
    return {
        "input_ids": pad(ids, batch_first=True),
        "labels": pad(ids, batch_first=True, padding_value=IGNORE),
        "attention_mask": pad([torch.ones_like(row) for row in ids], batch_first=True),
    }


if __name__ == "__main__":
    main()

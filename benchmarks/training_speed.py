"""Tokens/s of a whole training step (forward, backward, clip, AdamW) beside transformers' LlamaForCausalLM.

Both: float32, fused AdamW, SDPA, the same shape and the same random tokens.
"""

import time

import torch
from side_by_side import compare
from transformers import LlamaConfig, LlamaForCausalLM

from hanlin.base.device import choose_compute
from hanlin.batches.batch import Batch
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.objective.causal import Causal
from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.learner import Learner
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.step import training_step

ROWS, LENGTH, STEPS = 8, 256, 4


def main() -> None:
    for width, layers, heads, vocab_size in ((128, 4, 2, 2048), (384, 6, 6, 4096)):
        core = CoreConfig(vocab_size=vocab_size, width=width, layers=layers, heads=heads, window=LENGTH)
        tokens = torch.randint(vocab_size, (ROWS, LENGTH + 1))
        compare(
            f"training, width {width}, {layers} layers, {ROWS} x {LENGTH} tokens a step, against transformers",
            "tokens/s",
            our_steps(core, tokens),
            their_steps(core, tokens),
        )


def our_steps(core: CoreConfig, tokens: torch.Tensor):  # type: ignore[no-untyped-def]
    model, compute = Decoder(core), choose_compute("cpu")
    optimizers = build_optimizers(model, PretrainConfig(steps=100, optimizer="adamw"))
    batch = Batch(tokens[:, :-1], tokens[:, 1:])

    def run() -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            training_step(
                Learner(model),
                Causal(),
                optimizers,
                batch,
                compute,
                micro_rows=ROWS,
                clip=1.0,
                on_nonfinite="stop",
            )
        return STEPS * ROWS * LENGTH / (time.perf_counter() - start)

    return run


def their_steps(core: CoreConfig, tokens: torch.Tensor):  # type: ignore[no-untyped-def]
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=core.vocab_size,
            hidden_size=core.width,
            intermediate_size=core.ffn_width,
            num_hidden_layers=core.layers,
            num_attention_heads=core.heads,
            num_key_value_heads=core.kv_heads,
            max_position_embeddings=core.window,
            tie_word_embeddings=core.tied,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True)
    # transformers shifts the labels itself: LENGTH inputs give LENGTH - 1 targets.
    inputs = tokens[:, :-1]

    def run() -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            model(input_ids=inputs, labels=inputs).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return STEPS * ROWS * LENGTH / (time.perf_counter() - start)

    return run


if __name__ == "__main__":
    main()

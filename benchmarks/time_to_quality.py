"""Seconds to validation loss 1.90 on tiny Shakespeare, characters, beside the usual recipe for CPUs; and how low in equal time.

The usual recipe: 4 layers, 128 wide, context 64, batches of 12, 2,000 steps, AdamW at 1e-3 with cosine decay, as
`benchmarks/peers/nanogpt.py` runs it, timed without its validations. Ours: `hanlin pretrain recipes/shakespeare-char.yaml`,
timed as a whole process. Both losses: over the whole validation split. Needs the text: `time_to_quality.py input.txt`.
"""

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from peers.nanogpt import GPT, Training

RECIPE = Path(__file__).parent.parent / "recipes" / "shakespeare-char.yaml"
STEPS, ROWS, WINDOW = 2000, 12, 64
SEEDS = range(5)


def main() -> None:
    text = Path(sys.argv[1]).read_text("utf-8")
    cut = int(0.9 * len(text))
    theirs = [usual_recipe(text[:cut], text[cut:], seed) for seed in SEEDS[:1]]
    seconds, loss = theirs[0]
    print(f"usual recipe: {seconds:.1f} s, valid {loss:.4f}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        workplace = Path(name)
        folder = workplace / "texts" / "shakespeare"
        folder.mkdir(parents=True)
        (folder / "train.txt").write_text(text[:cut], "utf-8")
        (folder / "valid.txt").write_text(text[cut:], "utf-8")
        hanlin(workplace, "run", str(RECIPE), "--to", "tokenizer")
        ours = [our_recipe(workplace, f"pretrain.seed={seed}") for seed in SEEDS]
        tell("hanlin", ours, seconds)
        long = [our_recipe(workplace, f"pretrain.seed={seed}", *LONGER) for seed in SEEDS[:2]]
        tell("hanlin, in the time of the usual recipe", long, seconds)


LONGER = (
    "model.layers=4",
    "pretrain.steps=1150",
    "pretrain.evaluate_every=1150",
    "pretrain.save_every=1150",
)
"""The time of the usual recipe is enough for the layers of it."""


def tell(name: str, found: list[tuple[float, float]], usual: float) -> None:
    """Median and spread over seeds."""
    seconds, losses = zip(*found, strict=True)
    print(
        f"{name}: {statistics.median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f}), "
        f"{statistics.median(seconds) / usual:.2f} of the usual time; valid {statistics.fmean(losses):.4f} "
        f"+- {statistics.pstdev(losses):.4f} ({min(losses):.4f} to {max(losses):.4f}, {len(found)} seeds)",
        flush=True,
    )


def usual_recipe(train: str, valid: str, seed: int) -> tuple[float, float]:
    """Seconds of training, and the loss after it."""
    torch.manual_seed(seed)
    letters = {letter: number for number, letter in enumerate(sorted(set(train + valid)))}
    train_N, valid_N = (torch.tensor([letters[letter] for letter in part]) for part in (train, valid))
    training = Training(GPT(len(letters), 128, 4, 4, WINDOW))
    for group in training.optimizer.param_groups:
        group["betas"] = (0.9, 0.99)
    start = time.perf_counter()
    for step in range(STEPS):
        for group in training.optimizer.param_groups:
            group["lr"] = usual_rate(step)
        first_B1 = torch.randint(len(train_N) - WINDOW, (ROWS, 1))
        rows_BT = train_N[first_B1 + torch.arange(WINDOW + 1)]
        training.step(rows_BT[:, :-1], rows_BT[:, 1:])
    return time.perf_counter() - start, usual_loss(training.model, valid_N)


def usual_rate(step: int) -> float:
    if step < 100:
        return 1e-3 * (step + 1) / 100
    return 1e-4 + 0.5 * (1 + math.cos(math.pi * (step - 100) / (STEPS - 100))) * 9e-4


@torch.no_grad()
def usual_loss(model: GPT, valid_N: torch.Tensor) -> float:
    """Mean loss over the whole split, in pieces of the context."""
    rows = (len(valid_N) - 1) // WINDOW
    tokens_RT = valid_N[: rows * WINDOW].view(rows, WINDOW)
    targets_RT = valid_N[1 : rows * WINDOW + 1].view(rows, WINDOW)
    pairs = zip(tokens_RT.split(64), targets_RT.split(64), strict=True)
    return sum(float(model(a, b)) * a.numel() for a, b in pairs) / tokens_RT.numel()


def our_recipe(workplace: Path, *settings: str) -> tuple[float, float]:
    """Seconds of the whole command, its validation over the whole split included, and the loss of its last step."""
    start = time.perf_counter()
    hanlin(workplace, "pretrain", str(RECIPE), "pretrain.validation_rows=100000", *settings, "--fresh")
    seconds = time.perf_counter() - start
    lines = (workplace / "runs/shakespeare-char/pretrain/metrics.jsonl").read_text("utf-8").splitlines()
    return seconds, float(np.float64(json.loads(lines[-1])["valid_loss"]))


def hanlin(workplace: Path, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "hanlin.cli", *arguments], cwd=workplace, check=True, capture_output=True
    )


if __name__ == "__main__":
    main()

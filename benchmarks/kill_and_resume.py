"""Kill a training run at 50 random moments (SIGKILL: nothing can be cleaned up), go on each time, and compare bytes.

The model is tiny and saves after every step, so that kills also fall into the writing of checkpoints.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KILLS, STEPS = 50, 400
RECIPE = """
folder: run
corpus:
  sources: [{kind: python-docs, packages: [], max_characters: 120000}]
  split: {valid: 0.1, test: 0.1}
tokenizer: {vocab_size: 400, on_small: shrink}
model: {width: 32, layers: 2, heads: 2, window: 64, dropout: 0.1}
pretrain: {steps: %d, batch_rows: 4, micro_rows: 2, warmup: 2, evaluate_every: 20, save_every: 1, log_every: 1}
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        workplace = Path(name)
        (workplace / "recipe.yaml").write_text(RECIPE % STEPS, "utf-8")
        _start(workplace, "run", "--to", "pretrain").wait()
        whole = _digests(workplace)
        subprocess.run(["rm", "-r", str(workplace / "run/pretrain")], check=True)
        kills = _train_and_kill(workplace)
        assert _start(workplace, "pretrain").wait() == 0, "the run could not go on"
        same = _digests(workplace) == whole
    print(f"{kills} kills in {STEPS} steps: {'the same bytes' if same else 'OTHER BYTES'}")
    sys.exit(not same)


def _start(workplace: Path, verb: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "hanlin.cli", verb, "recipe.yaml", *arguments],
        cwd=workplace,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _train_and_kill(workplace: Path) -> int:
    """Kill a run again and again, a few steps after it has begun; how often it was killed."""
    chance = random.Random(0)
    for kill in range(KILLS):
        process = _start(workplace, "pretrain")
        target = _steps(workplace) + chance.randint(1, 6)
        while process.poll() is None and _steps(workplace) < target:
            time.sleep(0.005)
        time.sleep(chance.random() * 0.1)
        if process.poll() is not None:
            return kill
        process.send_signal(signal.SIGKILL)
        process.wait()
    return KILLS


def _steps(workplace: Path) -> int:
    path = workplace / "run/pretrain/metrics.jsonl"
    return path.read_text("utf-8").count("\n") if path.exists() else 0


def _digests(workplace: Path) -> dict[str, str]:
    """The weights of the last checkpoint, its optimizer state, and the finished model."""
    run = workplace / "run/pretrain"
    last = f"checkpoints/step-{STEPS}"
    names = ("model/model.safetensors", f"{last}/model.safetensors", f"{last}/resume/optimizer.safetensors")
    return {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in names}


if __name__ == "__main__":
    main()

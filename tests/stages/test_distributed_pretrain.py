"""Training in several processes from the command line: stopped, killed, gone on with, under torchrun."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hanlin.base.errors import HanlinError
from hanlin.base.manifest import read_manifest
from hanlin.stages.convert import run_convert
from hanlin.stages.pretrain import run_pretrain
from hanlin.stages.recipe import read_recipe
from hanlin.stages.run import run_recipe

from .conftest import hanlin as command

SETTINGS = ("pretrain.steps=400", "pretrain.warmup=2", "pretrain.save_every=400", "pretrain.log_every=1",
            "pretrain.evaluate_every=400", "pretrain.distribution=shard")  # fmt: skip
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}


@pytest.fixture
def tokenized(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which all is done that comes before training."""
    monkeypatch.chdir(workplace)
    run_recipe(read_recipe(Path("recipe.yaml")), last="tokenizer")
    return workplace


def start(workplace: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hanlin", "pretrain", "recipe.yaml", *SETTINGS, *arguments],
        cwd=workplace,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def steps_logged(workplace: Path) -> list[int]:
    path = workplace / "run/pretrain/metrics.jsonl"
    lines = path.read_text("utf-8").split("\n")[:-1] if path.exists() else []
    return [json.loads(line)["step"] for line in lines]


def wait_for_steps(process: subprocess.Popen[str], workplace: Path, count: int) -> None:
    while process.poll() is None and len(steps_logged(workplace)) < count:
        time.sleep(0.01)


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The training processes, by rank."""
    children = psutil.Process(process.pid).children()
    return sorted(
        (c for c in children if "spawn_main" in " ".join(c.cmdline())), key=lambda c: c.create_time()
    )


def test_processes_stop_fail_and_go_on_together(tokenized: Path) -> None:
    process = start(tokenized, "--processes", "2")
    wait_for_steps(process, tokenized, 3)
    # In this process, which has everything imported: the run would be over before another one had.
    second = read_recipe(tokenized / "recipe.yaml", SETTINGS)
    with pytest.raises(HanlinError, match="Another process is writing"):
        run_pretrain(second)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert said.count("Stopping after this step") == 1
    assert said.count("goes on from there") == 1
    (checkpoint,) = (tokenized / "run/pretrain/checkpoints").iterdir()
    stopped = int(checkpoint.name.removeprefix("step-"))
    assert stopped >= 3
    assert len(list((checkpoint / "shards").glob("*.safetensors"))) == 2

    process = start(tokenized, "--processes", "2")
    wait_for_steps(process, tokenized, stopped + 3)
    first, last = workers(process)
    last.kill()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2, said
    assert f"Going on from step {stopped}" in said
    assert said.count("hanlin: ") == 1
    assert "Process 1 of 2 (ranks 0 to 1) was killed by SIGKILL" in said
    assert "Traceback" not in said
    assert not first.is_running()
    assert read_manifest(checkpoint, "checkpoint")

    alone = command("pretrain", "recipe.yaml", *SETTINGS, cwd=tokenized)
    assert alone.returncode == 0, alone.stderr
    assert f"Going on from step {stopped}" in alone.stderr
    assert steps_logged(tokenized) == list(range(1, 401))


def test_torchrun_starts_them_too_and_a_failure_is_told_once(tokenized: Path) -> None:

    def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        return subprocess.run(
            [*torchrun, "-m", "hanlin", "pretrain", "recipe.yaml", "pretrain.steps=6", *arguments],
            cwd=tokenized,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env=ENVIRONMENT,
        )

    refused = torchrun("pretrain.batch_rows=3")
    assert refused.returncode != 0
    assert refused.stderr.count("3 rows cannot be divided among 2 processes") == 1
    done = torchrun()
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "run/pretrain/model"
    (sharded,) = (tokenized / "run/pretrain/checkpoints").iterdir()
    run_convert(sharded, tokenized / "out", None, None)
    weights = (tokenized / "out/model.safetensors").read_bytes()
    assert weights == (tokenized / "run/pretrain/model/model.safetensors").read_bytes()

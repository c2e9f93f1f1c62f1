"""The whole life on tiny text: run, skip, resume, use."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

import hanlin
from hanlin.base.manifest import read_manifest

from .conftest import hanlin as command


def test_one_command_takes_text_to_an_examined_model_that_speaks(workplace: Path) -> None:
    done = command("run", "recipe.yaml", cwd=workplace)
    assert done.returncode == 0, done.stderr
    run = workplace / "run"
    assert "perplexity" in done.stdout
    assert " chat run\n" in done.stdout
    page = (run / "report.html").read_text("utf-8")
    assert "<svg" in page
    results = json.loads((run / "evaluate" / "results.json").read_text("utf-8"))
    assert set(results["models"]) == {"transformer", "n-gram", "uniform"}
    assert results["models"]["transformer"]["bits_per_byte"] < results["models"]["uniform"]["bits_per_byte"]

    again = command("run", "recipe.yaml", cwd=workplace)
    assert again.returncode == 0
    assert again.stderr.count("is current") == 4

    dry = command("run", "recipe.yaml", "pretrain.steps=30", "--dry-run", cwd=workplace)
    assert [line.split(None, 1)[1] for line in dry.stdout.splitlines()] == ["is current"] * 2 + [
        "would run"
    ] * 2

    spoken = command(
        "generate", "run", "The statement", "--seed", "1", "--max-new-tokens", "5", "--json", cwd=workplace
    )
    same = command(
        "generate", "run", "The statement", "--seed", "1", "--max-new-tokens", "5", "--json", cwd=workplace
    )
    assert json.loads(spoken.stdout)["new_tokens"] == 5
    assert spoken.stdout == same.stdout

    model = hanlin.load(run)
    assert model.logprob("The statement") < 0
    shown = json.loads(command("show", "run", cwd=workplace).stdout)
    assert shown["model"]["family"] == "gpt2"
    assert shown["stages"]["corpus"] == "corpus"


def test_a_changed_recipe_does_not_overwrite_a_training_run(workplace: Path) -> None:
    assert command("run", "recipe.yaml", "--to", "pretrain", cwd=workplace).returncode == 0
    before = (workplace / "run/pretrain/model/model.safetensors").read_bytes()
    other = command("pretrain", "recipe.yaml", "model.layers=1", cwd=workplace)
    assert other.returncode == 2
    assert "model.layers: 2 -> 1" in other.stderr
    assert (workplace / "run/pretrain/model/model.safetensors").read_bytes() == before
    fresh = command("pretrain", "recipe.yaml", "model.layers=1", "pretrain.steps=4", "--fresh", cwd=workplace)
    assert fresh.returncode == 0, fresh.stderr
    assert read_manifest(workplace / "run/pretrain/model").config["layers"] == 1


def start_pretraining(workplace: Path, *overrides: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "hanlin.cli", "pretrain", "recipe.yaml", *overrides],
        cwd=workplace,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def steps_logged(workplace: Path) -> int:
    path = workplace / "run/pretrain/metrics.jsonl"
    return path.read_text("utf-8").count("\n") if path.exists() else 0


def final_bytes(workplace: Path) -> bytes:
    steps = max(
        int(path.name.split("-")[1]) for path in (workplace / "run/pretrain/checkpoints").glob("step-*")
    )
    return (workplace / f"run/pretrain/checkpoints/step-{steps}/model.safetensors").read_bytes()


def test_killed_at_random_moments_and_resumed_gives_the_same_bytes(workplace: Path) -> None:
    settings = ("pretrain.steps=40", "pretrain.save_every=1", "pretrain.log_every=1")
    assert command("run", "recipe.yaml", *settings, "--to", "pretrain", cwd=workplace).returncode == 0
    uninterrupted = final_bytes(workplace)
    model = (workplace / "run/pretrain/model/model.safetensors").read_bytes()

    subprocess.run(["rm", "-r", str(workplace / "run/pretrain")], check=True)
    chance = random.Random(0)
    kills = 0
    while kills < 4:
        process = start_pretraining(workplace, *settings)
        target = steps_logged(workplace) + chance.randint(1, 9)
        while process.poll() is None and steps_logged(workplace) < target:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.1)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert kills >= 2
    assert command("pretrain", "recipe.yaml", *settings, cwd=workplace).returncode == 0
    assert final_bytes(workplace) == uninterrupted
    assert (workplace / "run/pretrain/model/model.safetensors").read_bytes() == model
    steps = [
        json.loads(line)["step"]
        for line in (workplace / "run/pretrain/metrics.jsonl").read_text().splitlines()
    ]
    assert steps == list(range(1, 41))


def test_ctrl_c_saves_says_how_to_go_on_and_going_on_works(workplace: Path) -> None:
    settings = ("pretrain.steps=5000", "pretrain.save_every=5000", "pretrain.log_every=1")
    assert command("run", "recipe.yaml", "--to", "tokenizer", cwd=workplace).returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "hanlin.cli", "pretrain", "recipe.yaml", *settings],
        cwd=workplace,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while process.poll() is None and steps_logged(workplace) < 3:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"goes on from there" in errors
    (checkpoint,) = (workplace / "run/pretrain/checkpoints").glob("step-*")
    step = int(checkpoint.name.split("-")[1])
    assert step >= 3
    assert load_file(checkpoint / "resume" / "optimizer.safetensors")
    values = json.loads((checkpoint / "resume" / "state.json").read_text("utf-8"))
    assert values["step"] == step


def test_a_damaged_last_checkpoint_is_passed_over(workplace: Path) -> None:
    settings = ("pretrain.steps=12", "pretrain.save_every=4", "pretrain.evaluate_every=4")
    assert command("run", "recipe.yaml", *settings, "--to", "pretrain", cwd=workplace).returncode == 0
    expected = final_bytes(workplace)
    checkpoints = workplace / "run/pretrain/checkpoints"
    assert (checkpoints / "step-12").exists()
    kept = sorted(int(path.name.split("-")[1]) for path in checkpoints.glob("step-*"))
    weights = checkpoints / "step-12" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    (workplace / "run/pretrain/hanlin.json").unlink()
    again = command("pretrain", "recipe.yaml", *settings, cwd=workplace)
    assert again.returncode == 0, again.stderr
    assert "Passing over step-12" in again.stderr
    if len(kept) > 1:
        assert f"Going on from step {kept[0]}" in again.stderr
    assert final_bytes(workplace) == expected


def test_a_checkpoint_from_before_a_setting_existed_goes_on(workplace: Path) -> None:
    settings = ("pretrain.steps=8", "pretrain.save_every=4", "pretrain.evaluate_every=8")
    assert command("run", "recipe.yaml", *settings, "--to", "pretrain", cwd=workplace).returncode == 0
    manifest = workplace / "run/pretrain/checkpoints/step-8/hanlin.json"
    values = json.loads(manifest.read_text("utf-8"))
    del values["config"]["pretrain"]["label_smoothing"]
    manifest.write_text(json.dumps(values), "utf-8")
    (workplace / "run/pretrain/hanlin.json").unlink()
    again = command("pretrain", "recipe.yaml", *settings, cwd=workplace)
    assert again.returncode == 0, again.stderr
    assert "Going on from step 8" in again.stderr


@pytest.mark.parametrize("language", ["C.UTF-8", "zh_CN.UTF-8"])
def test_plan_says_what_a_run_will_take(workplace: Path, language: str) -> None:
    said = command("plan", "recipe.yaml", cwd=workplace, language=language)
    assert said.returncode == 0, said.stderr
    assert ("参数量" if language.startswith("zh") else "parameters") in said.stdout
    values = json.loads(command("plan", "recipe.yaml", "--json", cwd=workplace).stdout)
    assert values["training_tokens"] == 24 * 4 * 64
    assert values["fits"] is True
    assert values["step_seconds"] > 0

"""`hanlin sweep`: refused before anything runs, shared text, failures recorded, killed and gone on with."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from pydoc_data.topics import topics

import pytest
import yaml

pytest.importorskip("optuna")

from hanlin.base.errors import ConfigError, TrainingError
from hanlin.evaluate.sweep_results import Sweep
from hanlin.stages.recipe import read_recipe
from hanlin.stages.run import run_recipe
from hanlin.stages.sweep import run_sweep
from hanlin.stages.sweep_check import check_sweep
from hanlin.stages.sweep_trial import Job, run_trial

RECIPE = {
    "corpus": {"sources": ["texts"], "split": {"valid": 0.2, "test": 0.2}},
    "tokenizer": {"vocab_size": 300},
    "model": {"width": 16, "layers": 1, "heads": 2, "window": 32},
    "pretrain": {
        "steps": 6, "batch_rows": 2, "warmup": 1, "evaluate_every": 3, "save_every": 1, "log_every": 1,
        "validation_rows": 2, "device": "cpu",
    },
    "sweep": {"parameters": {"pretrain.learning_rate": [1e-3, 1e-2]}},
    "folder": "run",
}  # fmt: skip


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "texts").mkdir()
    for name in sorted(topics)[:12]:
        (tmp_path / "texts" / f"{name}.txt").write_text(topics[name][:2000], "utf-8")
    monkeypatch.chdir(tmp_path)
    write({})
    return tmp_path


def write(sweep: dict[str, object], **sections: dict[str, object]) -> Path:
    merged = {
        name: {**value, **sections.get(name, {})} for name, value in RECIPE.items() if isinstance(value, dict)
    }
    path = Path("recipe.yaml")
    path.write_text(yaml.safe_dump({**RECIPE, **merged, "sweep": {**RECIPE["sweep"], **sweep}}), "utf-8")
    return path


def line_of(path: Path, words: str) -> int:
    return max(n for n, line in enumerate(path.read_text("utf-8").splitlines(), 1) if words in line)


@pytest.mark.parametrize(
    ("sweep", "words", "says"),
    [
        ({"parameters": {"pretrain.learnin_rate": [1]}}, "learnin", "Did you mean 'learning_rate'"),
        ({"parameters": {"pretrian.steps": [1]}}, "pretrian", "Did you mean 'pretrain'"),
        (
            {"parameters": {"model.layers": [1], "model.width": [16, 33]}},
            "parameters:",
            "width 33 is not divisible",
        ),
        ({"parameters": {"model": [{"layers": 0}]}}, "    model:", "greater than or equal to 1"),
        ({"parameters": {"folder": ["a"]}}, "    folder:", "folder cannot be tried"),
        ({"parameters": {"model.head": ["lm", "none"]}}, "model.head", "does not fit a model"),
        ({"metric": "valid_los"}, "metric:", "Did you mean 'valid_loss'"),
        ({"metric": "perplexity", "pruner": "median"}, "metric:", "measured at the end"),
        ({"metric": "perplexity", "fit": "scaling"}, "fit:", "perplexity is none"),
    ],
)
def test_what_can_not_be_tried_is_refused_before_anything_runs(
    workplace: Path, sweep: dict[str, object], words: str, says: str
) -> None:
    path = write(sweep)
    with pytest.raises(ConfigError, match=says) as caught:
        check_sweep(path, ())
    if words != "parameters:":
        assert str(caught.value).startswith(f"recipe.yaml:{line_of(path, words)}")
    assert not Path("run").exists()


def test_a_recipe_without_parameters_is_refused(workplace: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to try"):
        check_sweep(write({"parameters": {}}), ())


def make_job(number: int, setting: dict[str, object], **sweep: object) -> Job:
    path = write(sweep)
    recipe, config = check_sweep(path, ())
    folder = recipe.places.sweep
    folder.mkdir(parents=True, exist_ok=True)
    run_recipe(recipe, "corpus", "corpus")
    values = yaml.safe_load(path.read_text("utf-8"))
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values), "utf-8")
    return Job(number, setting, folder, config)


def test_trials_share_text_that_they_do_not_change(workplace: Path) -> None:
    first = run_trial(make_job(0, {"pretrain.learning_rate": 1e-3}))
    encoded = Path("run/tokens/hanlin.json").stat().st_mtime_ns
    second = run_trial(make_job(1, {"pretrain.learning_rate": 1e-2}))
    other = run_trial(make_job(2, {"tokenizer.vocab_size": 280}))
    assert [trial.state for trial in (first, second, other)] == ["finished"] * 3
    assert Path("run/tokens/hanlin.json").stat().st_mtime_ns == encoded
    assert Path("run/sweep/trial-1/tokens").resolve() == Path("run/tokens").resolve()
    home = Path("run/sweep/trial-2/tokens").resolve().parent
    assert home.name.startswith("text-")
    assert (home / "corpus").resolve() == Path("run/corpus").resolve()
    assert first.parameters - other.parameters == 20 * 16
    assert first.tokens == second.tokens == 6 * 2 * 32
    assert first.values != second.values
    assert first.curve[-1] == (6, first.figures["valid_loss"])


def test_repeats_differ_by_seed_and_give_mean_and_spread(workplace: Path) -> None:
    trial = run_trial(make_job(0, {"pretrain.learning_rate": 1e-2}, repeats=2, metric="bits_per_byte"))
    assert trial.state == "finished", trial.reason
    assert len(set(trial.values)) == 2
    assert trial.spread == pytest.approx(abs(trial.values[0] - trial.values[1]) / 2**0.5)
    assert trial.figures["perplexity"] > 1
    config = read_recipe(Path("recipe.yaml")).pretrain
    seeds = [
        json.loads(Path(f"run/sweep/trial-0/repeat-{n}/pretrain/hanlin.json").read_text())["config"][
            "pretrain"
        ]["seed"]
        for n in range(2)
    ]
    assert seeds == [config.seed, config.seed + 1]


def test_a_trial_that_fails_says_why(workplace: Path) -> None:
    setting = {"pretrain.optimizer": "sgd", "pretrain.learning_rate": 1e30}
    trial = run_trial(make_job(0, setting))
    assert trial.state == "failed"
    assert "not finite" in trial.reason
    assert "TrainingError" in Path("run/sweep/trial-0/log.txt").read_text("utf-8")


def sweep_command() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "hanlin.cli", "sweep", "recipe.yaml", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_a_sweep_that_is_killed_goes_on(workplace: Path) -> None:
    path = write(
        {"parameters": {"pretrain.learning_rate": [1e-3, 1e-2]}}, pretrain={"steps": 60, "save_every": 10}
    )
    process = sweep_command()
    second = Path("run/sweep/trial-1/pretrain/metrics.jsonl")
    while process.poll() is None and not (second.exists() and second.stat().st_size > 1000):
        time.sleep(0.01)
    process.kill()
    process.wait()
    first = Path("run/sweep/trial-0/trial.json").read_bytes()
    assert not Path("run/sweep/trial-1/trial.json").exists(), "it was killed in the middle"

    with pytest.raises(ConfigError, match=r"model\.layers: 1 -> 2"):
        run_sweep(path, ["model.layers=2"])

    again = sweep_command()
    out, _ = again.communicate()
    assert again.returncode == 0
    found = Sweep.model_validate_json(out)
    assert [trial.state for trial in found.trials] == ["finished"] * 2
    assert Path("run/sweep/trial-0/trial.json").read_bytes() == first
    assert "Going on from step" in Path("run/sweep/trial-1/log.txt").read_text("utf-8")
    steps = [json.loads(line)["step"] for line in second.read_text("utf-8").splitlines()]
    assert steps == list(range(1, 61))
    assert found.best == found.finished[0].number

    best = read_recipe(Path("run/sweep/best.yaml"))
    assert best.folder == Path("run-best")
    assert best.pretrain.learning_rate == found.finished[0].setting["pretrain.learning_rate"]
    assert best.pretrain.steps == 60
    page = Path("run/sweep/report.html").read_text("utf-8")
    assert page.count("<svg") >= 3
    assert f"{found.finished[0].value:.4f}" in page


def test_a_sweep_of_failures_is_an_error(workplace: Path) -> None:
    path = write({"parameters": {"pretrain.learning_rate": [1e30]}}, pretrain={"optimizer": "sgd"})
    with pytest.raises(TrainingError, match="None of 1 trials"):
        run_sweep(path)
    assert json.loads(Path("run/sweep/sweep.json").read_text("utf-8"))["trials"][0]["state"] == "failed"

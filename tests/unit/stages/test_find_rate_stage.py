"""`hanlin find-rate` from a recipe to its page, and runs with epochs, a full batch and averaged checkpoints."""

import json
import random
from pathlib import Path

import pytest
import torch

from hanlin.base.device import Compute
from hanlin.base.errors import ConfigError
from hanlin.batches.store import TokenStore
from hanlin.checkpoint.folder import open_model
from hanlin.stages.find_rate import print_rates, run_find_rate
from hanlin.stages.plan import make_plan
from hanlin.stages.pretrain import run_pretrain
from hanlin.stages.recipe import Recipe, read_recipe
from hanlin.stages.run import run_recipe

RECIPE = """
folder: {folder}
corpus:
  sources: [{texts}]
  split: {{valid: 0.2, test: 0.2}}
  filters: {{max_symbol_share: 1}}
  deduplicate: {{near: "off"}}
tokenizer: {{vocab_size: 300}}
model: {{width: 16, layers: 2, heads: 2, window: 16}}
pretrain: {{warmup: 2}}
"""
WORDS = ["river", "stone", "light", "paper", "garden", "winter", "春水", "文章"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rates")
    (folder / "texts").mkdir()
    draw = random.Random(1)
    for number in range(30):
        text = " ".join(f"{draw.choice(WORDS)} {draw.choice(WORDS)}." for _ in range(20)) + f" {number}"
        (folder / "texts" / f"{number}.txt").write_text(text, "utf-8")
    text = RECIPE.format(folder=folder / "run", texts=folder / "texts")
    (folder / "recipe.yaml").write_text(text, "utf-8")
    run_recipe(recipe(folder), "corpus", "tokenizer")
    return folder


def recipe(home: Path, *overrides: str) -> Recipe:
    return read_recipe(home / "recipe.yaml", overrides)


def test_a_rate_is_suggested_for_a_recipe(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = recipe(home)
    sweep = run_find_rate(chosen, steps=40, lowest=1e-5, highest=10.0)
    assert sweep.suggested is not None
    folder = chosen.folder / "find-rate"
    results = json.loads((folder / "results.json").read_text("utf-8"))
    ratio = results["suggested"]["muon_learning_rate"] / results["suggested"]["learning_rate"]
    assert ratio == pytest.approx(5 / 3, rel=0.05)
    assert results["rates"] == list(sweep.rates)
    page = (folder / "report.html").read_text("utf-8")
    assert page.count("<polyline") == 2
    print_rates(chosen, sweep)
    shown = capsys.readouterr().out
    assert f"pretrain.learning_rate={results['suggested']['learning_rate']:g}" in shown
    assert "suggested" in shown
    assert not (chosen.places.pretrain).exists()  # no training run was begun
    with pytest.raises(ConfigError, match="0 < lowest < highest"):
        run_find_rate(chosen, steps=40, lowest=1.0, highest=0.1)


@pytest.mark.parametrize("of", ["last", "best"])
def test_a_run_of_epochs_keeps_checkpoints_and_averages_them(home: Path, of: str) -> None:
    folder = home / f"epochs-{of}"
    chosen = recipe(home, "pretrain.epochs=2", "pretrain.evaluate_every=8", "pretrain.save_every=8",
                    f"pretrain.average={{checkpoints: 2, of: {of}}}")  # fmt: skip
    chosen = chosen.model_copy(update={"folder": folder})
    folder.mkdir()
    for stage in ("corpus", "tokenizer"):
        (folder / stage).symlink_to(home / "run" / stage)
    plan = make_plan(chosen)
    report = run_pretrain(chosen).report
    assert plan.epochs == pytest.approx(2, rel=0.1)
    assert report["tokens"] == plan.training_tokens == report["steps"] * 16 * 16
    assert report["batch"] == "mini-batch of 16 rows"
    assert report["gradients"]
    assert len(report["average_of"]) == 2
    cpu = Compute(torch.device("cpu"), torch.float32)
    average, *members = [
        dict(open_model(path, cpu)[0].named_parameters())
        for path in (
            folder / "pretrain" / "average",
            *(folder / "pretrain" / "checkpoints" / name for name in report["average_of"]),
        )
    ]
    for name, value in average.items():
        mean = sum(member[name].detach().double() for member in members) / 2
        assert torch.equal(value, mean.float())


def test_a_full_batch_is_the_whole_split(home: Path) -> None:
    chosen = recipe(
        home, "pretrain.batch=full", "pretrain.optimizer=sgd", "pretrain.steps=4", "pretrain.warmup=0"
    )
    report = run_pretrain(chosen, fresh=True).report
    assert report["batch"] == "full batch"
    rows = (len(TokenStore(chosen.places.tokens).tokens("train")) - 1) // 16
    assert rows > 16
    assert report["tokens"] == 4 * 16 * rows

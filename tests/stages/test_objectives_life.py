"""The whole life of models that learn by other objectives, and by several: plan, run, examine, resume."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from hanlin.base.errors import CheckpointError
from hanlin.base.interrupt import Interrupted
from hanlin.generate.language_model import load
from hanlin.stages.evaluate import read_examination
from hanlin.stages.plan import make_plan
from hanlin.stages.pretrain import run_pretrain
from hanlin.stages.recipe import Recipe, read_recipe
from hanlin.stages.run import dry_run, run_recipe
from hanlin.stages.summary import summary_lines

from .conftest import RECIPE

WORDPIECE = {"model": "wordpiece", "vocab_size": 400}
SPANS = {"vocab_size": 400, "sentinels": 12}
LIVES: dict[str, dict[str, Any]] = {
    "encoder": {
        "tokenizer": WORDPIECE,
        "model": {"style": "bert", "head": "pretraining"},
        "mixture": [{"kind": "next-sentence", "whole_words": True}, {"kind": "masked", "weight": 2}],
    },
    "permuted": {
        "tokenizer": WORDPIECE,
        "model": {"style": "bert"},
        "mixture": [{"kind": "permutation", "predicted_share": 0.3}],
    },
    "encoder-decoder": {
        "tokenizer": SPANS,
        "model": {"style": "transformer"},
        "mixture": [{"kind": "spans"}],
    },
    "decoder": {
        "tokenizer": SPANS,
        "model": {"style": "llama"},
        "mixture": [{"kind": "causal", "weight": 2}, {"kind": "spans"}, {"kind": "prefix"}],
    },
}
FOUND = {
    "encoder": {
        "next-sentence": {"loss", "token_loss", "token_accuracy", "pair_loss", "pair_accuracy"},
        "masked": {"loss", "accuracy"},
        "pseudo_perplexity": {"pseudo_perplexity"},
    },
    "permuted": {"permutation": {"loss", "accuracy"}},
    "encoder-decoder": {"spans": {"loss", "accuracy"}},
}


def recipe_of(workplace: Path, life: str, **pretrain: Any) -> Recipe:
    values = LIVES[life]
    sizes = {key: value for key, value in RECIPE["model"].items() if key != "style"}  # type: ignore[attr-defined]
    evaluate = {"resamples": 100}
    if "pseudo_perplexity" in FOUND.get(life, {}):
        evaluate["pseudo_tokens"] = 60
    recipe = RECIPE | {
        "corpus": RECIPE["corpus"] | {"sources": [str(workplace / "texts")]},  # type: ignore[operator]
        "folder": str(workplace / "run"),
        "tokenizer": values["tokenizer"],
        "model": sizes | {"layers": 1} | values["model"],
        "pretrain": RECIPE["pretrain"] | {"steps": 12, "mixture": values["mixture"]} | pretrain,  # type: ignore[operator]
        "evaluate": evaluate,
    }
    (workplace / "recipe.yaml").write_text(yaml.safe_dump(recipe), "utf-8")
    return read_recipe(workplace / "recipe.yaml")


@pytest.mark.parametrize("life", LIVES)
def test_a_life_by_other_objectives(workplace: Path, life: str) -> None:
    recipe = recipe_of(workplace, life)
    assert make_plan(recipe).step_seconds > 0  # before there is a tokenizer
    run_recipe(recipe)
    assert not any(dry_run(recipe).values())
    summary, page = "\n".join(summary_lines(recipe)), recipe.places.report.read_text("utf-8")
    metrics = [json.loads(line) for line in (recipe.places.pretrain / "metrics.jsonl").open()]
    parts = {config.kind for config in recipe.pretrain.mixture}
    if len(parts) > 1:
        assert {
            name.removeprefix("loss.") for row in metrics for name in row if name.startswith("loss.")
        } == parts
    found = read_examination(recipe)
    if life == "decoder":
        assert set(found.models) == {"transformer", "n-gram", "uniform"}  # type: ignore[union-attr]
        assert load(recipe.places.model, "cpu").generate("The", max_new_tokens=3).new_tokens > 0
        return
    figures = {name: objective.figures for name, objective in found.objectives.items()}  # type: ignore[union-attr]
    assert {name: set(values) for name, values in figures.items()} == FOUND[life]
    first = next(iter(figures.values()))["loss"]
    assert f"{first.value:.3f}" in summary
    assert f"{first.value:.4f}" in page
    assert "generate" not in summary
    with pytest.raises(CheckpointError, match="no model that continues text"):
        load(recipe.places.model, "cpu")


def interrupt_after(lines: int, metrics: Path) -> None:
    while not (metrics.exists() and metrics.read_text("utf-8").count("\n") >= lines):
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("life", ["encoder", "decoder"])
def test_a_mixture_that_was_interrupted_twice_goes_on_to_the_same_bytes(workplace: Path, life: str) -> None:
    settings = {"steps": 20, "log_every": 1, "save_every": 20, "evaluate_every": 20}
    recipe = recipe_of(workplace, life, **settings)
    run_recipe(recipe, last="tokenizer")
    run_pretrain(recipe)
    model = recipe.places.model / "model.safetensors"
    whole, metrics = model.read_bytes(), recipe.places.pretrain / "metrics.jsonl"
    recipe.places.pretrain.rename(workplace / "whole")
    for lines in (3, 8):
        threading.Thread(target=interrupt_after, args=(lines, metrics), daemon=True).start()
        with pytest.raises(Interrupted):
            run_pretrain(recipe)
    run_pretrain(recipe)
    assert model.read_bytes() == whole
    assert [json.loads(line)["step"] for line in metrics.open()] == list(range(1, 21))

"""Continuations while training: written when due, dropped and written anew on resuming, and without effect on training."""

import json
from pathlib import Path
from pydoc_data.topics import topics

import pytest
import yaml

from hanlin.base.errors import ConfigError, RequestError
from hanlin.base.interrupt import Interrupted
from hanlin.base.sinks import Metrics
from hanlin.stages.corpus import run_corpus
from hanlin.stages.pretrain import run_pretrain
from hanlin.stages.recipe import Recipe, read_recipe
from hanlin.stages.tokenizer import run_tokenizer

RECIPE = {
    "folder": "run",
    "corpus": {"sources": ["texts"], "split": {"valid": 0.2, "test": 0.2}},
    "tokenizer": {"vocab_size": 300},
    "model": {"width": 16, "layers": 2, "heads": 2, "window": 32, "dropout": 0.1},
    "pretrain": {
        "steps": 8, "batch_rows": 2, "warmup": 1, "evaluate_every": 4, "save_every": 2, "log_every": 1,
        "validation_rows": 2, "device": "cpu",
    },
}  # fmt: skip
SAMPLES = ("pretrain.samples=[The statement,This]", "pretrain.sample_every=3")


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.chdir(tmp_path)
    Path("texts").mkdir()
    for name in sorted(topics)[:12]:
        Path(f"texts/{name}.txt").write_text(topics[name][:2000], "utf-8")
    Path("recipe.yaml").write_text(yaml.safe_dump(RECIPE), "utf-8")
    recipe = read_recipe(Path("recipe.yaml"))
    run_corpus(recipe)
    run_tokenizer(recipe)
    return recipe


class StopAt:
    """Ends a run as a kill would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def write(self, step: int, metrics: Metrics) -> None:
        if step == self.step:
            raise Interrupted

    def close(self) -> None:
        pass


def samples() -> list[dict[str, object]]:
    return [json.loads(line) for line in Path("run/pretrain/samples.jsonl").read_text("utf-8").splitlines()]


def test_samples_are_written_and_change_nothing(recipe: Recipe) -> None:
    run_pretrain(recipe)
    plain = Path("run/pretrain/model/model.safetensors").read_bytes()
    chosen = read_recipe(Path("recipe.yaml"), SAMPLES)
    assert run_pretrain(chosen).report["steps"] == 8, "asking for samples does not make it another run"
    assert not Path("run/pretrain/samples.jsonl").exists()
    with pytest.raises(Interrupted):
        run_pretrain(chosen, fresh=True, sinks=[StopAt(7)])
    first = samples()
    assert [(line["step"], line["prompt"]) for line in first] == [
        (3, "The statement"), (3, "This"), (6, "The statement"), (6, "This")
    ]  # fmt: skip
    assert all(line["continuation"] for line in first)
    run_pretrain(chosen)
    assert samples() == first, "what a resumed run writes again is the same"
    assert Path("run/pretrain/model/model.safetensors").read_bytes() == plain
    assert Path("run/pretrain/report.html").read_text("utf-8").count("<svg") >= 5


def test_samples_that_can_not_be_are_refused(recipe: Recipe) -> None:
    masked = read_recipe(
        Path("recipe.yaml"), [SAMPLES[0], "model.assembly=encoder", "tokenizer.model=wordpiece"]
    )
    with pytest.raises(ConfigError, match=r"pretrain\.samples does nothing"):
        run_pretrain(masked)
    with pytest.raises(ConfigError, match="sample_every does nothing"):
        read_recipe(Path("recipe.yaml"), [SAMPLES[1]])
    with pytest.raises(RequestError, match="window"):
        run_pretrain(read_recipe(Path("recipe.yaml"), ["pretrain.samples=[" + "long " * 60 + "]"]))

"""`hanlin finetune`, on a tiny encoder and a few dozen records."""

import json
import shutil

import pytest
import torch

from hanlin.base.errors import ConfigError, DataError
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import save_model
from hanlin.checkpoint.resume import checkpoint_steps
from hanlin.model.assemble import build_model
from hanlin.model.config import CoreConfig
from hanlin.stages import finetune_train
from hanlin.stages.finetune import run_finetune
from hanlin.stages.finetune_recipe import read_finetune_recipe
from hanlin.tasks.folder import load_task
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.wordpiece import train_wordpiece

GOOD = ["a fine film", "很好看", "truly great acting", "精彩的故事", "warm and funny"]
BAD = ["a dull film", "很难看", "truly poor acting", "无聊的故事", "cold and slow"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A BERT of one layer with a WordPiece vocabulary of these very words."""
    folder = tmp_path_factory.mktemp("base")
    config = TokenizerConfig(model="wordpiece", vocab_size=400, on_small="shrink")
    save_tokenizer(
        train_wordpiece([f"{text} {n}" for text in (*GOOD, *BAD) for n in range(12)] * 4, config),
        "wordpiece",
        folder / "tokenizer",
    )
    tokenizer = Tokenizer.load(folder / "tokenizer")
    torch.manual_seed(0)
    shape = {"style": "bert", "width": 32, "layers": 1, "heads": 2, "window": 64, "dropout": 0.1}
    model = build_model(CoreConfig.model_validate({**shape, "vocab_size": tokenizer.vocab_size}))
    with torch.no_grad():  # as in a trained model, what a token says reaches the first one
        for parameter in model.blocks.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    save_model(folder / "model", model, tokenizer, GenerationDefaults(), {}, {})
    return folder / "model"


@pytest.fixture
def reviews(tmp_path):
    """120 records, each text its own."""
    lines = [
        {"text": f"{text} {number}", "label": label, "stars": number}
        for number in range(12)
        for label, texts in (("good", GOOD), ("bad", BAD))
        for text in texts
    ]
    path = tmp_path / "reviews.jsonl"
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    return path


def recipe_of(base, reviews, tmp_path, kind="classify", overrides=(), **given):
    values = {
        "folder": str(tmp_path / "run"),
        "model": str(base),
        "data": {"train": [str(reviews)]},
        "training": {"epochs": 6, "learning_rate": 5e-3, "device": "cpu"},
        "examine": {"resamples": 100, "baselines": False},
        **given,
    }
    return read_finetune_recipe(kind, overrides, values)


def test_a_task_is_learned_examined_and_opens_again(base, reviews, tmp_path):
    recipe = recipe_of(base, reviews, tmp_path, overrides=["examine.baselines=true"])
    done = run_finetune(recipe)
    found = done.examinations["task"]
    assert found.main.name == "accuracy"
    assert found.main.value > 0.9
    assert any(line.split()[:2] == ["accuracy", f"{found.main.value:.3f}"] for line in done.lines())
    assert found.baselines
    model = load_task(tmp_path / "run", "cpu")
    assert [said.labels for said in model.classify(["很好看", "a dull film"])] == [("good",), ("bad",)]
    for file in (
        "model/README.md",
        "examination/report.html",
        "examination/predictions.jsonl",
        "metrics.jsonl",
    ):
        assert (tmp_path / "run" / file).is_file()
    before = (tmp_path / "run" / "model" / "model.safetensors").stat().st_mtime_ns
    again = run_finetune(recipe)  # nothing has changed: nothing is done
    assert again.examinations["task"].figures == found.figures
    assert (tmp_path / "run" / "model" / "model.safetensors").stat().st_mtime_ns == before


def test_a_stopped_run_ends_with_the_same_bytes(base, reviews, tmp_path, monkeypatch):
    overrides = ["training.save_every=3", "training.evaluate_every=7", "training.epochs=3"]
    run_finetune(recipe_of(base, reviews, tmp_path, overrides=overrides))
    whole = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "run")
    own_save = finetune_train.Training._save

    def stopping(self, state):
        own_save(self, state)
        if state.step == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(finetune_train.Training, "_save", stopping)
    with pytest.raises(KeyboardInterrupt):
        run_finetune(recipe_of(base, reviews, tmp_path, overrides=overrides))
    monkeypatch.undo()
    assert checkpoint_steps(tmp_path / "run") == [6]
    with pytest.raises(ConfigError, match=r"training\.learning_rate"):
        run_finetune(
            recipe_of(base, reviews, tmp_path, overrides=[*overrides, "training.learning_rate=1e-3"])
        )
    run_finetune(recipe_of(base, reviews, tmp_path, overrides=overrides))
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == whole


def test_an_adapter_is_small_and_does_what_was_examined(base, reviews, tmp_path):
    given = {"task": {"method": "lora"}, "training": {"epochs": 15, "learning_rate": 1e-2, "device": "cpu"}}
    done = run_finetune(recipe_of(base, reviews, tmp_path, **given))
    assert done.examinations["task"].main.value > 0.8
    adapter = tmp_path / "run" / "model" / "adapter_model.safetensors"
    assert adapter.stat().st_size < (base / "model.safetensors").stat().st_size / 2
    lines = (tmp_path / "run" / "examination" / "predictions.jsonl").read_text("utf-8").splitlines()
    first = json.loads(lines[0])
    (said,) = load_task(tmp_path / "run", "cpu").classify([first["record"]["text"]])
    assert said.probability == pytest.approx(first["prediction"]["probability"], abs=1e-5)


def test_every_record_is_examined_once_by_folds(base, reviews, tmp_path):
    data = {"train": [str(reviews)], "folds": 3}
    done = run_finetune(recipe_of(base, reviews, tmp_path, data=data, overrides=["examine.baselines=true"]))
    found = done.examinations["task"]
    assert found.n > 100  # all but the validation records
    lines = (tmp_path / "run" / "examination" / "predictions.jsonl").read_text("utf-8").splitlines()
    places = [json.loads(line)["place"] for line in lines]
    assert len(set(places)) == len(places) == found.n
    assert any("3 folds" in note.en for note in found.notes)
    assert not found.baselines  # they would have learned the records


def test_several_tasks_share_a_body(base, reviews, tmp_path):
    path = tmp_path / "both.yaml"
    path.write_text(
        f"""
folder: {tmp_path / "run"}
model: {base}
training: {{epochs: 6, learning_rate: 5e-3, device: cpu}}
examine: {{resamples: 100, baselines: false}}
tasks:
  taste:
    task: {{kind: classify}}
    data: {{train: [{reviews}]}}
  stars:
    task: {{kind: regress}}
    data: {{train: [{reviews}], columns: {{score: stars}}}}
""",
        "utf-8",
    )
    done = run_finetune(read_finetune_recipe(str(path)))
    assert set(done.folders) == {"taste", "stars"}
    assert done.examinations["taste"].main.value > 0.8
    (said,) = load_task(done.folders["stars"], "cpu").score(["a fine film 3"])
    assert 0 <= said.score <= 12
    one, other = (load_task(done.folders[name], "cpu").opened.model for name in ("taste", "stars"))
    assert torch.equal(one.embed.token.weight, other.embed.token.weight)


def test_looking_writes_nothing_and_shows_tokens(base, reviews, tmp_path, capsys):
    run_finetune(recipe_of(base, reviews, tmp_path), look_only=True)
    said = capsys.readouterr().err
    assert "bad 4" in said or "good 4" in said  # of 48 each, some are for validation and test
    assert "[CLS]" in said
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_done_is_said(base, reviews, tmp_path):
    with pytest.raises(ConfigError, match="No training records"):
        run_finetune(recipe_of(base, reviews, tmp_path, data={}))
    with pytest.raises(ConfigError, match="cannot be done by the method few-shot"):
        run_finetune(recipe_of(base, reviews, tmp_path, kind="regress", task={"method": "few-shot"}))
    with pytest.raises(ConfigError, match="kind"):
        recipe_of(base, reviews, tmp_path, kind="clasify")
    data = {"train": [str(reviews)], "columns": {"label": "verdict"}}
    with pytest.raises(DataError, match="'verdict'"):
        run_finetune(recipe_of(base, reviews, tmp_path, data=data))
    data = {"train": [str(reviews)], "split": {"test": 0.0}}
    with pytest.raises(ConfigError, match="no test records"):  # said before anything is trained
        run_finetune(recipe_of(base, reviews, tmp_path, data=data))
    assert not (tmp_path / "run" / "checkpoints").exists()
    path = tmp_path / "none.yaml"
    path.write_text(f"folder: x\nmodel: {base}\n", "utf-8")
    with pytest.raises(ConfigError, match="either task, or tasks"):
        read_finetune_recipe(str(path))


def test_a_soft_prompt_is_learned_by_a_decoder(reviews, tmp_path):
    new = {
        "tokenizer": {"vocab_size": 400, "on_small": "shrink"},
        "model": {"width": 32, "layers": 1, "heads": 2, "window": 128},
    }
    words = {"template": "{text} is {word}", "words": {"good": "fine", "bad": "dull"}}
    given = {"new": new, "model": "", "task": {"method": "prompt-tuning", **words}, "prompt": {"length": 3}}
    recipe = recipe_of("", reviews, tmp_path, **given)
    done = run_finetune(recipe)
    assert done.examinations["task"].n > 5
    said = load_task(tmp_path / "run", "cpu").classify(["a fine film 3"])
    assert set(said[0].probabilities) == {"good", "bad"}


def test_a_folder_is_not_written_over(base, reviews, tmp_path):
    run_finetune(recipe_of(base, reviews, tmp_path, overrides=["training.epochs=1"]))
    weights = tmp_path / "run" / "model" / "model.safetensors"
    kept = weights.read_bytes()
    given = {"task": {"method": "verbalizer", "words": {"good": "fine", "bad": "dull"}}}
    with pytest.raises(ConfigError, match="of another run"):
        run_finetune(recipe_of(base, reviews, tmp_path, **given))
    assert weights.read_bytes() == kept
    shutil.rmtree(tmp_path / "run" / "model")  # what is gone is made again, without training
    run_finetune(recipe_of(base, reviews, tmp_path, overrides=["training.epochs=1"]))
    assert weights.read_bytes() == kept


def test_a_run_of_an_older_version_that_lacked_a_setting_goes_on(base, reviews, tmp_path):
    recipe = recipe_of(base, reviews, tmp_path, overrides=["training.epochs=1"])
    run_finetune(recipe)
    weights = tmp_path / "run" / "model" / "model.safetensors"
    kept = weights.read_bytes()
    for path in (tmp_path / "run").rglob("hanlin.json"):
        manifest = json.loads(path.read_text("utf-8"))
        if "recipe" in manifest["config"]:
            del (
                manifest["config"]["recipe"]["task"]["method"],
                manifest["config"]["recipe"]["data"]["on_error"],
            )
            path.write_text(json.dumps(manifest), "utf-8")
    shutil.rmtree(tmp_path / "run" / "model")
    run_finetune(recipe)
    assert weights.read_bytes() == kept


def test_records_that_training_has_seen_are_told_in_the_examination(base, reviews, tmp_path):
    test = tmp_path / "test.jsonl"
    test.write_text("".join(reviews.read_text("utf-8").splitlines(True)[:30]), "utf-8")
    data = {"train": [str(reviews)], "test": [str(test)]}
    done = run_finetune(recipe_of(base, reviews, tmp_path, data=data, overrides=["training.epochs=1"]))
    notes = " ".join(note.en for note in done.examinations["task"].notes)
    assert "also stand in train" in notes
    assert "also stand in train" in (tmp_path / "run" / "model" / "README.md").read_text("utf-8")
    assert "also stand in train" in (tmp_path / "run" / "examination" / "report.html").read_text("utf-8")

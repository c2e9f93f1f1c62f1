"""What the wiring of stages checks before it lets anything run."""

from pathlib import Path

import pytest

from hanlin.base.errors import CheckpointError, ConfigError, NewerFormatError
from hanlin.base.files import atomic_folder
from hanlin.base.manifest import Manifest, write_manifest
from hanlin.checkpoint.resume import last_checkpoint
from hanlin.evaluate.results import Sample
from hanlin.stages.current import current_manifest
from hanlin.stages.evaluate import current_evaluate, read_samples, write_run_report
from hanlin.stages.plan import make_plan
from hanlin.stages.pretrain import run_pretrain
from hanlin.stages.recipe import Recipe, read_recipe
from hanlin.stages.run import dry_run, run_recipe


def make_recipe(folder: Path, *overrides: str) -> Recipe:
    (folder / "texts").mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text(
        f"folder: {folder / 'run'}\ncorpus: {{sources: [{folder / 'texts'}]}}\n", "utf-8"
    )
    return read_recipe(folder / "recipe.yaml", overrides)


def make_stage(folder: Path, kind: str, content: str, **inputs: str) -> Manifest:
    with atomic_folder(folder) as fresh:
        (fresh / "content").write_text(content, "utf-8")
        return write_manifest(fresh, kind, {}, inputs)


def test_only_what_belongs_together_is_examined(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path)
    places = recipe.places
    corpus = make_stage(places.corpus, "corpus", "first")
    tokens = make_stage(places.tokens, "token store", "first", corpus=corpus.fingerprint)
    make_stage(places.model, "model", "first", tokens=tokens.fingerprint)
    assert current_evaluate(recipe) is None

    other = make_stage(places.corpus, "corpus", "second")
    with pytest.raises(CheckpointError, match="tokens was not made from"):
        current_evaluate(recipe)
    make_stage(places.tokens, "token store", "second", corpus=other.fingerprint)
    with pytest.raises(CheckpointError, match="model was not made from"):
        current_evaluate(recipe)


def test_samples_may_hold_any_line_end(tmp_path: Path) -> None:
    sample = Sample(prompt="a\u2028b", continuation="c\x85d\ne")
    (tmp_path / "samples.jsonl").write_text(sample.model_dump_json() + "\n", "utf-8")
    assert read_samples(tmp_path) == [sample]


def test_a_model_larger_than_the_memory_is_refused_before_it_takes_it(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, "model.width=65536", "model.layers=1000", "model.heads=64")
    with pytest.raises(ConfigError, match="GiB to train"):
        make_plan(recipe)


def test_a_model_that_cannot_be_pretrained_is_refused_before_anything_runs(tmp_path) -> None:
    recipe = make_recipe(tmp_path, "model.head=none")
    for begin in (run_recipe, dry_run, make_plan, run_pretrain):
        with pytest.raises(ConfigError, match="does not fit a model of assembly decoder, head none"):
            begin(recipe)
    assert not recipe.folder.exists()


@pytest.mark.parametrize("source", ["", "run", "run/corpus/.."])
def test_a_run_does_not_read_what_it_wrote(tmp_path: Path, source: str) -> None:
    with pytest.raises(ConfigError, match="would read what the run wrote"):
        make_recipe(tmp_path, f"corpus.sources=[{tmp_path / source}]")
    assert make_recipe(tmp_path, f"corpus.sources=[{tmp_path / 'texts'}]").folder == tmp_path / "run"
    assert make_recipe(tmp_path, f"corpus.sources=[{tmp_path}]", f"folder={tmp_path / '.run'}")


@pytest.mark.parametrize(
    "override",
    ["pretrain.betas=[1.5,2]", "evaluate.seed=-1", "corpus.split.seed=99999999999999999999",
     "pretrain.seed=99999999999999999999"],
)  # fmt: skip
def test_values_that_a_library_would_refuse_later_are_refused_at_once(tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError, match=override.partition("=")[0].replace(".", r"\.")):
        make_recipe(tmp_path, override)


def test_what_a_newer_hanlin_wrote_is_not_made_again_over_it(tmp_path: Path) -> None:
    for folder in (tmp_path / "corpus", tmp_path / "run" / "checkpoints" / "step-4"):
        make_stage(folder, "checkpoint", "weights")
        path = folder / "hanlin.json"
        path.write_text(path.read_text("utf-8").replace('"format": 1', '"format": 2'), "utf-8")
    with pytest.raises(NewerFormatError, match="format 2"):
        current_manifest(tmp_path / "corpus", "checkpoint", {}, {})
    with pytest.raises(NewerFormatError, match="format 2"):
        last_checkpoint(tmp_path / "run")


def test_a_report_without_its_parts_names_the_file(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path)
    places = recipe.places
    for folder in (
        places.corpus,
        places.tokenizer,
        places.tokens,
        places.pretrain,
        places.model,
        places.evaluate,
    ):
        make_stage(folder, "any", "content")
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl is missing or damaged"):
        write_run_report(recipe)


def test_a_batch_beyond_all_memory_is_refused_before_it_is_tried(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="micro_rows"):
        make_plan(make_recipe(tmp_path, "pretrain.batch_rows=100000000"))

"""`hanlin evaluate`: the trained model and the n-gram model on the held-out split, samples, and the report."""

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hanlin.base.device import choose_compute
from hanlin.base.errors import CheckpointError
from hanlin.base.files import atomic_folder, write_text
from hanlin.base.language import Text, speaks_chinese
from hanlin.base.lock import locked
from hanlin.base.manifest import Manifest, read_manifest, write_manifest
from hanlin.batches.store import TokenStore
from hanlin.checkpoint.folder import open_model
from hanlin.corpus.shards import read_documents
from hanlin.evaluate.examine import examine, train_ngram
from hanlin.evaluate.objectives import examine_objective, examine_pseudo_perplexity
from hanlin.evaluate.perplexity import HeldOut
from hanlin.evaluate.report import RunReport, Stage, write_report
from hanlin.evaluate.results import (
    Examination,
    ObjectiveExamination,
    Sample,
    read_objective_results,
    read_results,
    write_results,
)
from hanlin.evaluate.samples import check_prompts, write_samples
from hanlin.evaluate.scorers import decoder_scorer
from hanlin.generate.language_model import load
from hanlin.model.encoder import Encoder
from hanlin.stages.current import current_manifest, required_manifest
from hanlin.stages.doctor import machine_line
from hanlin.stages.objectives import build_mixture, framed_rows, hides_tokens, is_language_model
from hanlin.stages.recipe import Recipe

KIND = "examination"


def run_evaluate(recipe: Recipe) -> Manifest:
    """Examine the model unless its examination is current; write `report.html` for the whole run."""
    places = recipe.places
    manifest = current_evaluate(recipe)
    if manifest is None:
        inputs = _inputs(recipe)
        with locked(recipe.folder), atomic_folder(places.evaluate) as fresh:
            _examine(recipe, fresh)
            manifest = write_manifest(fresh, KIND, recipe.dump("evaluate"), inputs)
    write_run_report(recipe)
    return manifest


def current_evaluate(recipe: Recipe) -> Manifest | None:
    """The manifest if the examination is that of this model under the recipe's settings."""
    return current_manifest(recipe.places.evaluate, KIND, recipe.dump("evaluate"), _inputs(recipe))


def _inputs(recipe: Recipe) -> dict[str, str]:
    """Fingerprints of model and tokens; `CheckpointError` if they, or the corpus, come from different runs.

    Another split could hold texts that the model was trained on, and other texts have other bytes.
    """
    places = recipe.places
    model = required_manifest(places.model, "model", "pretrain")
    tokens = required_manifest(places.tokens, "token store", "pretrain")
    corpus = required_manifest(places.corpus, "corpus", "corpus")
    if tokens.inputs.get("corpus") != corpus.fingerprint:
        raise _of_another_run(places.tokens, places.corpus)
    if model.inputs.get("tokens") != tokens.fingerprint:
        raise _of_another_run(places.model, places.tokens)
    return {"model": model.fingerprint, "tokens": tokens.fingerprint}


def _of_another_run(made: Path, source: Path) -> CheckpointError:
    return CheckpointError(
        Text(
            f"{made} was not made from {source} as it is now.",
            f"{made} 不是由现在的 {source} 得来的。",
        ),
        Text(
            "Go back to the settings of that run, or run all stages of this recipe: hanlin run.",
            "请恢复当时的设置，或用此配方运行所有阶段：hanlin run。",
        ),
    )


def _examine(recipe: Recipe, folder: Path) -> None:
    config, places = recipe.evaluate, recipe.places
    store = TokenStore(places.tokens)
    store.verify()
    if not is_language_model(recipe):
        write_results(folder / "results.json", examine_objectives(recipe, store))
        return
    model = load(places.model, recipe.pretrain.device)
    check_prompts(model, config)
    ngram = train_ngram(store.documents("train"), store.vocab_size, store.begin_id, config)
    scorer = decoder_scorer(model.decoder, model.compute, store.begin_id)
    write_results(folder / "results.json", examine(scorer, ngram, held_out(recipe, store), config))
    samples = write_samples(model, config)
    lines = [sample.model_dump_json() for sample in samples]
    write_text(folder / "samples.jsonl", "".join(f"{line}\n" for line in lines))


def examine_objectives(recipe: Recipe, store: TokenStore) -> ObjectiveExamination:
    """The model by its own objectives on the split that is examined."""
    config, pretrain = recipe.evaluate, recipe.pretrain
    compute = choose_compute(pretrain.device, pretrain.precision)
    model, _, _ = open_model(recipe.places.model, compute)
    mixture = build_mixture(recipe, store, ("train", config.split))
    share = min(
        1.0,
        (config.max_bytes or math.inf) / max(1, store.bytes(config.split)),
        (config.max_documents or math.inf) / max(1, store.manifest.report[config.split]["documents"]),
    )
    found = {part.name: examine_objective(model, part, share, compute, config) for part in mixture.parts}
    if config.pseudo_tokens and hides_tokens(recipe):
        assert isinstance(model, Encoder)
        rows = framed_rows(recipe, store.tokens(config.split))
        found["pseudo_perplexity"] = examine_pseudo_perplexity(model, rows, compute, config)
    return ObjectiveExamination(
        split=config.split, uniform_loss=math.log(model.config.vocab_size), objectives=found
    )


def held_out(recipe: Recipe, store: TokenStore) -> list[HeldOut]:
    """The documents of the split that is examined, each with its ids."""
    split = recipe.evaluate.split
    texts = (document.text for document in read_documents(recipe.places.corpus, split))
    return [HeldOut(text, ids) for ids, text in zip(store.documents(split), texts, strict=True)]


def read_samples(folder: Path) -> list[Sample]:
    """The samples of an examination folder; none of a model that continues no text."""
    path = folder / "samples.jsonl"
    lines = path.read_text("utf-8").split("\n")[:-1] if path.exists() else []
    return [Sample.model_validate_json(line) for line in lines]


def read_examination(recipe: Recipe) -> Examination | ObjectiveExamination:
    """What the examination of this recipe's model found."""
    path = recipe.places.evaluate / "results.json"
    with _reading(path):
        return read_results(path) if is_language_model(recipe) else read_objective_results(path)


def write_run_report(recipe: Recipe) -> None:
    """Write the page that tells the whole run."""
    places = recipe.places
    stages = {
        "corpus": places.corpus,
        "tokenizer": places.tokenizer,
        "tokens": places.tokens,
        "pretrain": places.pretrain,
        "model": places.model,
        "evaluate": places.evaluate,
    }
    lineage = [_stage(name, folder) for name, folder in stages.items()]
    plan = places.folder / "plan.json"
    curves, found = _curves(places.pretrain / "metrics.jsonl"), read_examination(recipe)
    report = RunReport(
        title=recipe.folder.name,
        machine=machine_line(),
        configuration=recipe.model_dump(mode="json"),
        lineage=lineage,
        curves=curves,
        corpus=_json(places.corpus / "report.json"),
        tokenizer=_json(places.tokenizer / "report.json"),
        samples=read_samples(places.evaluate),
        examination=found if isinstance(found, Examination) else None,
        objectives=found if isinstance(found, ObjectiveExamination) else None,
        plan=_json(plan) if plan.is_file() else None,
    )
    write_report(places.report, report, "zh" if speaks_chinese() else "en")


def _stage(name: str, folder: Path) -> Stage:
    manifest = read_manifest(folder)
    return Stage(name, str(folder), manifest.kind, manifest.fingerprint, manifest.inputs)


def _json(path: Path) -> dict[str, Any]:
    with _reading(path):
        values: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return values


def _curves(path: Path) -> list[dict[str, Any]]:
    with _reading(path):
        return [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]]


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise `CheckpointError` that names `path` if it cannot be read or is no JSON."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise CheckpointError(
            Text(f"{path} is missing or damaged: {error}", f"{path} 不存在或已损坏：{error}"),
            Text("Restore it from a copy, or make its folder again.", "请从备份恢复，或重新生成该目录。"),
        ) from error

"""One trial of a sweep: a whole training run in a folder of its own, on text that it shares with others."""

import contextlib
import json
import os
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import JsonValue

from hanlin.base.errors import HanlinError
from hanlin.base.language import Text
from hanlin.base.manifest import fingerprint
from hanlin.base.sinks import Metrics, MetricSink, read_metrics
from hanlin.batches.store import TokenStore
from hanlin.evaluate.examine import choose_documents
from hanlin.evaluate.perplexity import score
from hanlin.evaluate.scorers import decoder_scorer
from hanlin.evaluate.sweep_results import Trial
from hanlin.generate.language_model import load
from hanlin.model.count import parameters
from hanlin.stages.corpus import run_corpus
from hanlin.stages.evaluate import held_out
from hanlin.stages.pretrain import model_config, run_pretrain, run_tokens
from hanlin.stages.recipe import Recipe, read_recipe
from hanlin.stages.study import Study
from hanlin.stages.tokenizer import run_tokenizer
from hanlin.trainer.sweep import SweepConfig

EXAMINED = ("bits_per_byte", "perplexity")
"""Metrics that are not logged while training: those of the whole validation split, under the best model."""


def trial_folder(sweep: Path, number: int | None) -> Path:
    """Where a trial lives; None: the one that is held out."""
    return sweep / ("held-out" if number is None else f"trial-{number}")


@dataclass(frozen=True)
class Job:
    """A trial to be run. `config` has its metric and direction filled in."""

    number: int
    setting: dict[str, JsonValue]
    sweep: Path
    config: SweepConfig
    held_out: bool = False

    @property
    def folder(self) -> Path:
        """Where the trial lives."""
        return trial_folder(self.sweep, None if self.held_out else self.number)


class _BehindError(Exception):
    """The trial has fallen behind the others."""


def run_trial(job: Job) -> Trial:
    """Train, or go on with, every repeat of a trial. What goes wrong is in the record, with its reason.

    Everything that is said on the way goes to `log.txt` in the trial's folder. Raises `Interrupted` alone.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    log = job.folder / "log.txt"
    with open(log, "a", encoding="utf-8") as file, contextlib.redirect_stderr(file):
        try:
            return _trained(job)
        except _BehindError:
            return _record(job, "pruned", str(Text("behind the others", "落后于其他试验")))
        except HanlinError as error:
            traceback.print_exc()
            return _record(job, "failed", str(error.problem))
        except Exception as error:
            traceback.print_exc()
            return _record(job, "failed", f"{type(error).__name__}: {error} ({log})")


def trial_recipe(job: Job, repeat: int) -> Recipe:
    """The recipe of one repeat: the sweep's own, with the setting, a folder and a seed."""
    folder = job.folder if job.config.repeats == 1 else job.folder / f"repeat-{repeat}"
    recipe = read_recipe(
        job.sweep / "recipe.yaml", [*as_overrides(job.setting), f"folder={json.dumps(str(folder))}"]
    )
    seeded = recipe.pretrain.model_copy(update={"seed": recipe.pretrain.seed + repeat})
    return recipe.model_copy(update={"pretrain": seeded})


def as_overrides(setting: dict[str, JsonValue]) -> list[str]:
    """A setting as the overrides of a recipe."""
    return [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in setting.items()]


def _trained(job: Job) -> Trial:
    for repeat in range(job.config.repeats):
        recipe = trial_recipe(job, repeat)
        share_text(recipe, read_recipe(job.sweep / "recipe.yaml"), job.sweep)
        watches: list[MetricSink] = []
        if job.config.pruner is not None and repeat == 0 and not job.held_out:
            watches.append(_Watch(job))
        run_pretrain(recipe, sinks=watches)
    return _record(job, "finished")


class _Watch:
    """Gives a trial up when it falls behind."""

    def __init__(self, job: Job) -> None:
        self._number, self._metric = job.number, job.config.metric or ""
        self._study = Study(job.sweep, job.config)

    def write(self, step: int, metrics: Metrics) -> None:
        """Look at the metric where there has been a validation."""
        value = metrics.get(self._metric)
        if value is not None and self._study.falls_behind(self._number, step, float(value)):
            raise _BehindError

    def close(self) -> None:
        """Nothing to finish."""


def share_text(recipe: Recipe, base: Recipe, sweep: Path) -> None:
    """Make the text, tokenizer and tokens of a trial where no other has made them, and link them into its folder.

    Those of the sweep's recipe lie in its own folder, others in `sweep/text-*`, one for each way to make them.
    """
    home = _home(recipe, base, sweep)
    with FileLock(sweep / ".text.lock"):
        if recipe.dump("corpus") == base.dump("corpus"):
            _link(home.places.corpus, base.places.corpus)
        else:
            run_corpus(home)
        run_tokenizer(home)
        run_tokens(home)
        for name in ("corpus", "tokenizer", "tokens"):
            _link(recipe.folder / name, home.folder / name)


def _home(recipe: Recipe, base: Recipe, sweep: Path) -> Recipe:
    parts = [recipe.dump("corpus"), recipe.dump("tokenizer")]
    same = parts == [base.dump("corpus"), base.dump("tokenizer")]
    folder = base.folder if same else sweep / f"text-{fingerprint(parts)}"
    return recipe.model_copy(update={"folder": folder})


def _link(place: Path, target: Path) -> None:
    if place.absolute() == target.absolute() or place.is_symlink():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(os.path.relpath(target.absolute(), place.absolute().parent), target_is_directory=True)


def _record(job: Job, state: Any, reason: str = "") -> Trial:
    """What the folders of the repeats say."""
    known: dict[str, Any] = {
        "number": job.number,
        "setting": job.setting,
        "state": state,
        "held_out": job.held_out,
    }
    try:
        repeats = [_measured(job, trial_recipe(job, repeat)) for repeat in range(job.config.repeats)]
    except HanlinError:  # it has not come so far
        if state == "finished":
            raise
        repeats = []
    measured = [one for one in repeats if one]
    if not measured:
        return Trial(**known, reason=reason)
    seconds = sum(one["seconds"] for one in measured)
    tokens = sum(one["tokens"] for one in measured)
    return Trial(
        **known,
        reason=reason,
        values=tuple(one["value"] for one in measured) if state == "finished" else (),
        figures=_means([one["figures"] for one in measured]),
        curve=measured[0]["curve"],
        parameters=measured[0]["parameters"],
        tokens=measured[0]["tokens"],
        seconds=seconds,
        tokens_per_second=tokens / seconds if seconds else 0.0,
    )


def _measured(job: Job, recipe: Recipe) -> dict[str, Any] | None:
    """What one run's metrics say of it so far; None if it has not begun."""
    lines = list(read_metrics(recipe.places.pretrain / "metrics.jsonl"))
    if not lines:
        return None
    looks = [line for line in lines if "valid_loss" in line]
    best = _best(looks, recipe)
    figures = {name: float(value) for name, value in best.items() if name.startswith("valid_")}
    metric = job.config.metric
    assert metric is not None
    store = TokenStore(recipe.places.tokens)
    if metric in EXAMINED and recipe.places.model.exists():
        figures |= _examined(recipe, store)
    return {
        "value": figures.get(metric),
        "figures": figures,
        "curve": tuple((line["step"], float(line[metric])) for line in looks if metric in line),
        "parameters": parameters(model_config(recipe, store)),
        "tokens": lines[-1]["tokens"],
        "seconds": sum(_seconds(lines)),
    }


def _best(looks: list[dict[str, Any]], recipe: Recipe) -> dict[str, Any]:
    """The validation whose model was kept."""
    config = recipe.pretrain
    known = [line for line in looks if config.metric in line]
    if not known:
        return {}
    choose = max if config.better == "higher" else min
    return choose(known, key=lambda line: line[config.metric])


def _seconds(lines: list[dict[str, Any]]) -> Iterator[float]:
    """Seconds of training between the lines of metrics: they hold over interruptions, unlike a clock."""
    before = 0
    for line in lines:
        yield (line["tokens"] - before) / line["tokens_per_second"]
        before = line["tokens"]


def _examined(recipe: Recipe, store: TokenStore) -> dict[str, float]:
    """The best model on the documents of the validation split, each read from its begin."""
    config = recipe.evaluate.model_copy(update={"split": "valid"})
    model = load(recipe.places.model, recipe.pretrain.device)
    documents = choose_documents(held_out(recipe.model_copy(update={"evaluate": config}), store), config)
    scorer = decoder_scorer(model.decoder, model.compute, store.begin_id)
    scores = score(scorer, documents, store.begin_id)
    return {"bits_per_byte": scores.bits_per_byte, "perplexity": scores.perplexity}


def _means(figures: list[dict[str, float]]) -> dict[str, float]:
    names = set[str].intersection(*(set(one) for one in figures))
    return {name: sum(one[name] for one in figures) / len(figures) for name in figures[0] if name in names}

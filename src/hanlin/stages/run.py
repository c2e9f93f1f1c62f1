"""`hanlin run`: walks the stages of a recipe, skips what is current, continues what was interrupted."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from hanlin.base.errors import CheckpointError, ConfigError
from hanlin.base.files import write_text
from hanlin.base.language import Text
from hanlin.base.manifest import Manifest
from hanlin.base.progress import console
from hanlin.stages.checks import check_earlier_training, check_splits, check_trainable
from hanlin.stages.corpus import current_corpus, run_corpus
from hanlin.stages.evaluate import current_evaluate, run_evaluate
from hanlin.stages.plan import make_plan, plan_lines, plan_values
from hanlin.stages.pretrain import current_pretrain, run_pretrain, run_tokens
from hanlin.stages.recipe import Recipe
from hanlin.stages.tokenizer import current_tokenizer, run_tokenizer


@dataclass(frozen=True)
class StageRun:
    """A stage by its verb: how to tell that it is current, and how to run it."""

    verb: str
    current: Callable[[Recipe], Manifest | None]
    run: Callable[[Recipe], object]


def _plan_and_pretrain(recipe: Recipe) -> None:
    run_tokens(recipe)
    plan = make_plan(recipe)
    for line in plan_lines(plan):
        console.print(line, markup=False, soft_wrap=True)
    write_text(recipe.folder / "plan.json", json.dumps(plan_values(plan), indent=1) + "\n")
    run_pretrain(recipe)


STAGES: tuple[StageRun, ...] = (
    StageRun("corpus", current_corpus, run_corpus),
    StageRun("tokenizer", current_tokenizer, run_tokenizer),
    StageRun("pretrain", current_pretrain, _plan_and_pretrain),
    StageRun("evaluate", current_evaluate, run_evaluate),
)
"""The stages of a life, in order."""


def run_recipe(recipe: Recipe, first: str | None = None, last: str | None = None) -> None:
    """Run the stages from `first` to `last` (default: all), each only if it is not current."""
    stages = chosen_stages(first, last)
    if any(stage.verb in ("pretrain", "evaluate") for stage in stages):
        check_trainable(recipe)
        check_splits(recipe)
    if any(stage.verb in ("corpus", "tokenizer") for stage in stages):
        check_earlier_training(recipe)
    for stage in stages:
        start = time.monotonic()
        if is_current(stage, recipe):
            _say(stage, Text("is current", "无需重做"))
            if stage.verb != "evaluate":
                continue
        else:
            _say(stage, Text("...", "……"))
        stage.run(recipe)
        seconds = time.monotonic() - start
        _say(stage, Text(f"done in {seconds:.0f} s", f"完成，用时 {seconds:.0f} 秒"))


def chosen_stages(first: str | None, last: str | None) -> tuple[StageRun, ...]:
    """The stages between two verbs; `ConfigError` for an unknown verb or an empty range."""
    verbs = [stage.verb for stage in STAGES]
    for verb in (first, last):
        if verb is not None and verb not in verbs:
            raise ConfigError(
                Text(f"There is no stage '{verb}' in a run.", f"运行中没有名为“{verb}”的阶段。"),
                Text(f"Choose from {', '.join(verbs)}.", f"可选：{'、'.join(verbs)}。"),
            )
    start = verbs.index(first) if first else 0
    stop = verbs.index(last) + 1 if last else len(verbs)
    if start >= stop:
        raise ConfigError(
            Text(f"--from {first} comes after --to {last}.", f"--from {first} 在 --to {last} 之后。"),
            Text("Swap them.", "请交换两者。"),
        )
    return STAGES[start:stop]


def is_current(stage: StageRun, recipe: Recipe) -> bool:
    """Whether a stage has nothing to do; false too if one of its inputs is not made yet."""
    try:
        return stage.current(recipe) is not None
    except CheckpointError:
        return False


def dry_run(recipe: Recipe, first: str | None = None, last: str | None = None) -> dict[str, bool]:
    """Each stage between two verbs, and whether it would run: not current, or after one that is not."""
    would_run: dict[str, bool] = {}
    stages = chosen_stages(first, last)
    if any(stage.verb in ("pretrain", "evaluate") for stage in stages):
        check_trainable(recipe)
    for stage in stages:
        would_run[stage.verb] = any(would_run.values()) or not is_current(stage, recipe)
    return would_run


def _say(stage: StageRun, what: Text) -> None:
    console.print(f"[bold]{stage.verb:<10}[/] {what}")

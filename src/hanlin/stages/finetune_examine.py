"""The examination of what was fine-tuned: the figures, and what the recipe asks to stand beside them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hanlin.base.device import Compute
from hanlin.base.language import Text
from hanlin.base.records import Record
from hanlin.checkpoint.folder import open_model
from hanlin.evaluate.figures import across
from hanlin.evaluate.task_results import Elsewhere, Forgetting, TaskExamination
from hanlin.records.load import load_records
from hanlin.records.loaded import Loaded
from hanlin.stages.finetune_data import Learned, checksum, files_of
from hanlin.stages.finetune_folds import cross_validate
from hanlin.stages.finetune_recipe import FinetuneRecipe
from hanlin.tasks.baselines import baselines
from hanlin.tasks.examination import elsewhere, examination_of, examine_task, with_answers
from hanlin.tasks.forgetting import examine_forgetting
from hanlin.tasks.opened import Opened
from hanlin.tasks.robustness import examine_robustness


def examine_part(
    recipe: FinetuneRecipe,
    part: Learned,
    opened: Opened,
    compute: Compute,
    identity: dict[str, Any],
    inputs: dict[str, str],
) -> tuple[TaskExamination, Loaded[Any], Sequence[Record]]:
    """What was found, and the records that were examined with what was said of them."""
    if part.data.folds:
        found, known, said = _cross_validated(recipe, part, opened, compute, identity, inputs)
    else:
        found, known, said = _examined(recipe, part, opened)
    config = recipe.examine
    leaks = () if part.data.folds else (one.text for one in part.overlaps.leaks if one.second == "test")
    found = found.model_copy(update={"notes": (*found.notes, *leaks)})
    changed: dict[str, Any] = {"files": part.files}
    if config.baselines and part.task.is_trained and not part.data.folds:
        changed["baselines"] = baselines(part.task, part.sides["train"], known, config.resamples, config.seed)
    if config.robustness:
        title = str(Text("robustness", "稳健性"))
        rows, told = examine_robustness(
            part.task, opened, known, said, resamples=config.resamples, seed=config.seed, title=title
        )
        found = found.model_copy(update={"notes": (*found.notes, *told)})
        changed["robustness"] = tuple(rows)
    if config.forgetting:
        lost, told = _forgotten(recipe, opened)
        found = found.model_copy(update={"notes": (*found.notes, *told)})
        changed["forgetting"] = tuple(lost)
    if config.out_of_domain:
        changed["elsewhere"] = (_elsewhere(recipe, part, opened, known, said),)
    return found.model_copy(update=changed), known, said


def _examined(
    recipe: FinetuneRecipe, part: Learned, opened: Opened
) -> tuple[TaskExamination, Loaded[Any], Sequence[Record]]:
    config, loaded = recipe.examine, part.sides["test"]
    title = str(Text("examine", "评测"))
    found, said = examine_task(
        part.task, opened, loaded, resamples=config.resamples, seed=config.seed, title=title
    )
    return found, with_answers(loaded), said


def _cross_validated(
    recipe: FinetuneRecipe,
    part: Learned,
    opened: Opened,
    compute: Compute,
    identity: dict[str, Any],
    inputs: dict[str, str],
) -> tuple[TaskExamination, Loaded[Any], Sequence[Record]]:
    config = recipe.examine
    known, said, values = cross_validate(recipe, part, compute, identity, inputs)
    found = examination_of(
        part.task, known, said, opened.name, 0.0, resamples=config.resamples, seed=config.seed
    )
    over = across(values)
    name, spread = found.main.name, over.deviation or 0.0
    listed = ", ".join(f"{value:.3f}" for value in values)
    note = Text(f"Cross-validation with {len(values)} folds: {name} {over.mean:.3f}, deviation {spread:.3f} ({listed}). "
                "The saved model has learned from all of them.",
                f"{len(values)} 折交叉验证：{name} {over.mean:.3f}，标准差 {spread:.3f}（{listed}）。保存的模型学习了全部记录。")  # fmt: skip
    return found.model_copy(update={"notes": (*found.notes, note)}), known, said


def _elsewhere(
    recipe: FinetuneRecipe, part: Learned, opened: Opened, known: Loaded[Any], said: Sequence[Record]
) -> Elsewhere:
    config = recipe.examine
    loaded = load_records(type(part.task).record, config.out_of_domain, part.data)
    home = part.task.measures(known.records, said)[0]
    files = {str(path): checksum(path) for path in files_of(config.out_of_domain)}
    title = str(Text("elsewhere", "域外"))
    return elsewhere(
        part.task, opened, loaded, home, files, resamples=config.resamples, seed=config.seed, title=title
    )


def _forgotten(recipe: FinetuneRecipe, opened: Opened) -> tuple[list[Forgetting], list[Text]]:
    model, tokenizer, defaults = open_model(Path(recipe.model), opened.compute)
    parent = Opened(recipe.model, model, tokenizer, opened.compute, defaults)
    return examine_forgetting(parent, opened, resamples=recipe.examine.resamples, seed=recipe.examine.seed)

"""`hanlin finetune`: a model and records of a task -> a folder that does the task, its examination and its card."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hanlin.base.device import Compute, choose_compute
from hanlin.base.files import write_text
from hanlin.base.language import Text, speaks_chinese
from hanlin.base.lock import locked
from hanlin.base.manifest import NAME, Manifest, read_manifest
from hanlin.base.progress import console
from hanlin.base.sinks import read_metrics
from hanlin.checkpoint.folder import find_model
from hanlin.evaluate.card import write_card
from hanlin.evaluate.figure_names import figure_name, span, written
from hanlin.evaluate.labels import Lang
from hanlin.evaluate.task_page import write_task_page
from hanlin.evaluate.task_results import PAGE, TaskExamination, read_task_results, write_task_results
from hanlin.stages.current import current_manifest
from hanlin.stages.finetune_data import ONE, Learned, read_learned, suited, training_texts
from hanlin.stages.finetune_examine import examine_part
from hanlin.stages.finetune_look import look
from hanlin.stages.finetune_recipe import FinetuneRecipe
from hanlin.stages.finetune_train import Prepared, Trained, Training, check_same_run, prepare, settled
from hanlin.stages.lineage import model_fingerprint
from hanlin.stages.new_model import make_new_model
from hanlin.tasks.examination import prediction_lines
from hanlin.tasks.folder import save_task
from hanlin.tasks.opened import Opened

KIND = "fine-tuning"
START = "start"
"""The folder of a new model, before it has learned anything."""


@dataclass(frozen=True)
class Finetuned:
    """What became of each task: its model folder and its examination."""

    folders: Mapping[str, Path]
    examinations: Mapping[str, TaskExamination]

    def values(self) -> dict[str, Any]:
        """For programs."""
        return {
            name: {"folder": str(self.folders[name]), **found.model_dump(mode="json")}
            for name, found in self.examinations.items()
        }

    def lines(self) -> list[str]:
        """For people: every figure with its interval."""
        lang: Lang = "zh" if speaks_chinese() else "en"
        return [
            line
            for name, found in self.examinations.items()
            for line in ([name] if len(self.examinations) > 1 else []) + figure_lines(found, lang)
        ]


def figure_lines(found: TaskExamination, lang: Lang) -> list[str]:
    """The figures of an examination, one a line, with the simple models beside it."""
    lines = [str(Text(f"Examined on {found.n:,} records.", f"在 {found.n:,} 条记录上评测。"))]
    for figure in found.figures:
        interval = f"  [{span(figure.low, figure.high)}]" if figure.low is not None else ""
        lines.append(f"{figure_name(figure.name, lang):<28} {written(figure.value)}{interval}")
    for beside in found.baselines:
        main = next(figure for figure in beside.figures if figure.name == found.main.name)
        lines.append(f"  {beside.name:<26} {written(main.value)}  ({figure_name(main.name, lang)})")
    return lines


def run_finetune(recipe: FinetuneRecipe, fresh: bool = False, look_only: bool = False) -> Finetuned:
    """Train, or go on where an earlier run of the same recipe stopped; `fresh` throws that one away.

    Raises `Interrupted` after Ctrl-C (state saved), `ConfigError` if the folder holds another run, `DataError` for
    records that cannot be learned from.
    """
    if look_only:
        with (
            TemporaryDirectory() as place
        ):  # a new model for looking at tokens; nothing is written in the folder
            _run(recipe, Path(place)).look()
        return Finetuned({}, {})
    with locked(recipe.folder):
        run = _run(recipe, recipe.folder / START)
        if not fresh:
            if run.is_done():
                return run.read()
            check_same_run(recipe.folder, KIND, run.identity, run.inputs)
        return run.run(fresh)


def _run(recipe: FinetuneRecipe, start: Path) -> "_Run":
    """The run of a recipe; a model that is new is made at `start`."""
    learned = read_learned(recipe)
    if recipe.new is not None:
        make_new_model(recipe.new, training_texts(learned), start, recipe.training.seed)
        recipe = recipe.model_copy(update={"model": str(start)})
    learned = suited(learned, find_model(Path(recipe.model)))
    left_out = {"folder", "examine", *(() if recipe.new is None else ("model",))}
    identity = {"recipe": recipe.model_dump(mode="json", exclude=left_out)}
    inputs = {"model": model_fingerprint(recipe.model)}
    for part in learned:
        inputs |= {f"{part.name}: {path}": digest for path, digest in part.files.items()}
    return _Run(recipe, learned, identity, inputs)


class _Run:
    """One fine-tuning in its folder."""

    def __init__(
        self, recipe: FinetuneRecipe, learned: list[Learned], identity: dict[str, Any], inputs: dict[str, str]
    ) -> None:
        self.recipe, self.learned, self.identity, self.inputs = recipe, learned, identity, inputs
        self.folder = recipe.folder
        self.compute: Compute = choose_compute(recipe.training.device, recipe.training.precision)

    def model_folder(self, name: str) -> Path:
        """Where the model of a task is written."""
        return self.folder / "model" if name == ONE else self.folder / "models" / name

    def examination_folder(self, name: str) -> Path:
        """Where its examination is."""
        return self.folder / "examination" if name == ONE else self.folder / "examinations" / name

    def is_done(self) -> bool:
        """Whether this very run is finished and undamaged."""
        config = {**self.identity, "examine": self.recipe.examine.model_dump(mode="json")}
        done = (self.folder / NAME).exists() and current_manifest(self.folder, KIND, config, self.inputs)
        return bool(done)

    def read(self) -> Finetuned:
        """What a finished run found."""
        names = [part.name for part in self.learned]
        return Finetuned(
            {name: self.model_folder(name) for name in names},
            {name: read_task_results(self.examination_folder(name))[0] for name in names},
        )

    def look(self) -> Prepared:
        """Open the model, and say what is to be learned from."""
        prepared = prepare(self.recipe, self.learned, self.compute)
        for part in self.learned:
            look(part, prepared.opened[part.name], prepared.train[part.name])
        if prepared.new:
            console.print(
                str(
                    Text(f"New, begun at random: {', '.join(prepared.new)}.", f"新建并随机初始化：{'、'.join(prepared.new)}。")
                ),
                markup=False,
            )  # fmt: skip
        return prepared

    def run(self, fresh: bool) -> Finetuned:
        """Look at the records, train, examine, write."""
        prepared = self.look()
        if fresh:
            shutil.rmtree(self.folder / "folds", ignore_errors=True)
        trained = self._train(prepared, fresh)
        return self._finish(prepared, trained)

    def _train(self, prepared: Prepared, fresh: bool) -> Trained | None:
        if not all(part.task.is_trained for part in self.learned):
            return None
        config = settled(self.recipe, self.learned, sum(map(len, prepared.train.values())))
        training = Training(
            self.folder, prepared, self.learned, config, self.compute, self.identity, self.inputs
        )
        trained = training.run(fresh)
        if trained.rows:
            speed = trained.rows / trained.seconds
            console.print(
                str(
                    Text(
                        f"Trained at {speed:,.0f} records a second.", f"训练速度：每秒 {speed:,.0f} 条记录。"
                    )
                )
            )
        return trained

    def _finish(self, prepared: Prepared, trained: Trained | None) -> Finetuned:
        report = {} if trained is None else trained.report()
        examinations = dict[str, TaskExamination]()
        for part in self.learned:
            opened, folder = prepared.opened[part.name], self.model_folder(part.name)
            if part.sides["valid"].records:
                part = replace(part, task=part.task.calibrated(opened, part.sides["valid"].records))
            saved = save_task(folder, opened, part.task, self.inputs, report, _base(self.recipe.model))
            examinations[part.name] = self._examine(part, opened, saved.fingerprint)
            write_card(folder, examinations[part.name])
        self._write_manifest(report)
        return Finetuned({part.name: self.model_folder(part.name) for part in self.learned}, examinations)

    def _examine(self, part: Learned, opened: Opened, fingerprint: str) -> TaskExamination:
        found, known, said = examine_part(self.recipe, part, opened, self.compute, self.identity, self.inputs)
        found, folder = (
            found.model_copy(update={"fingerprint": fingerprint}),
            self.examination_folder(part.name),
        )
        write_task_results(folder, found, prediction_lines(part.task, known, said))
        metrics = self.folder / "metrics.jsonl"
        curves = read_metrics(metrics) if metrics.is_file() else []
        write_task_page(folder / PAGE, found, "zh" if speaks_chinese() else "en", curves=curves)
        return found

    def _write_manifest(self, report: dict[str, Any]) -> None:
        models = [self.model_folder(part.name) for part in self.learned]
        files = {
            f"{folder.relative_to(self.folder).as_posix()}/{name}": digest
            for folder in models
            for name, digest in read_manifest(folder).files.items()
        }
        manifest = Manifest(
            kind=KIND,
            config={**self.identity, "examine": self.recipe.examine.model_dump(mode="json")},
            inputs=self.inputs,
            files=files,
            report=report,
        )
        write_text(self.folder / NAME, manifest.model_dump_json(indent=1) + "\n")


def _base(model: str) -> str:
    """Where the base is found again: its path, or its name."""
    folder = find_model(Path(model))
    return str(folder.resolve()) if Path(model).exists() else model

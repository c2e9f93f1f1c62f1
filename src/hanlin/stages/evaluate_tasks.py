"""`hanlin evaluate MODEL --tasks ...`: a model by task files, by tasks of lm-evaluation-harness, or by its own task."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanlin.base.config import read_settings
from hanlin.base.device import DeviceName
from hanlin.base.errors import ConfigError
from hanlin.base.files import write_text
from hanlin.base.language import Text, speaks_chinese
from hanlin.base.manifest import NAME, read_manifest
from hanlin.checkpoint.folder import find_model
from hanlin.evaluate.labels import Lang
from hanlin.evaluate.task_page import write_task_page
from hanlin.evaluate.task_results import PAGE, PredictionLine, TaskExamination, write_task_results
from hanlin.generate.language_model import load
from hanlin.records.config import DataConfig
from hanlin.records.load import load_records
from hanlin.records.loaded import Loaded
from hanlin.stages.doctor import machine_line
from hanlin.stages.finetune import figure_lines
from hanlin.stages.finetune_data import checksum, files_of
from hanlin.stages.lineage import model_fingerprint
from hanlin.stages.task_recipe import (
    TaskRecipe,
    collection_of,
    is_task_recipe,
    opened_for,
    records_of,
    some,
    some_queries,
)
from hanlin.tasks.examination import examine_task, prediction_lines, with_answers
from hanlin.tasks.folder import find_task, load_task, task_name
from hanlin.tasks.match import Match
from hanlin.tasks.opened import Opened
from hanlin.tasks.rerank import Rerank
from hanlin.tasks.retrieval import examine_search
from hanlin.tasks.shots import PromptStudy, study_prompts
from hanlin.tasks.shots_page import study_lines, write_study_page
from hanlin.tasks.task import AnyRecordTask


@dataclass(frozen=True)
class Manner:
    """How is examined. shots, seeds, orders: as in `study_prompts`. limit: records at most. chat: whether tasks of the
    harness are asked in the model's conversation template."""

    shots: tuple[int, ...] = ()
    seeds: int = 3
    orders: int = 0
    limit: int | None = None
    chat: bool = False
    device: DeviceName = "auto"
    resamples: int = 1000


@dataclass(frozen=True)
class Evaluated:
    """What was found, by the name of each task; `folder` has a folder for each."""

    folder: Path
    examinations: dict[str, TaskExamination]
    studies: dict[str, PromptStudy]

    def values(self) -> dict[str, Any]:
        """For programs."""
        found: dict[str, TaskExamination | PromptStudy] = {**self.examinations, **self.studies}
        return {name: one.model_dump(mode="json") for name, one in found.items()}

    def lines(self) -> list[str]:
        """For people: every figure with its interval."""
        told = {name: figure_lines(found, _lang()) for name, found in self.examinations.items()}
        told |= {name: study_lines(study) for name, study in self.studies.items()}
        return [line for name, lines in told.items() for line in (name, *(f"  {one}" for one in lines))]


def run_evaluate_tasks(
    model: str, tasks: Sequence[str], data: Sequence[Path], folder: Path | None, manner: Manner
) -> Evaluated:
    """Examine a model; results and a page stand in a folder for each task.

    tasks: task files (.yaml), ours or those of lm-evaluation-harness, and names of its tasks. data: files by which a
    fine-tuned folder is examined in its own task. Raises `ConfigError` where there is neither.
    """
    if not tasks and not data:
        raise ConfigError(
            Text("Nothing says by what the model is to be examined.", "没有说明用什么来考核该模型。"),
            Text("Give --tasks with task files or names, or for a fine-tuned folder --data with files.",
                 "请给出 --tasks（任务文件或名称）；若是微调所得的目录，可给出 --data 文件。"),
        )  # fmt: skip
    found = find_task(Path(model))
    called = task_name(found) if Path(model).exists() else model.replace("/", "-")
    run = _Run(model, model_fingerprint(str(found)), manner, folder or Path("evaluations") / called)
    ours = [Path(task) for task in tasks if _is_file(task) and is_task_recipe(Path(task))]
    if data:
        run.own_task(DataConfig(test=tuple(data)))
    for path in ours:
        run.task_file(path)
    run.harness([task for task in tasks if Path(task) not in ours])
    return run.done


def _is_file(task: str) -> bool:
    return task.endswith((".yaml", ".yml"))


def _lang() -> Lang:
    return "zh" if speaks_chinese() else "en"


def _seen_in_training(folder: Path, named: Sequence[Path]) -> list[Text]:
    """Of files that the model was fine-tuned with, byte for byte, that this is so."""
    known = set(read_manifest(folder).inputs.values()) if (folder / NAME).is_file() else set()
    return [
        Text(f"{path} is a file that this model was fine-tuned with: these figures say nothing of new records.",
             f"{path} 是该模型微调所用的文件：这些指标不能说明它在新记录上的表现。")
        for path in files_of(named)
        if checksum(path) in known
    ]  # fmt: skip


class _Run:
    """One model on its way through all that it is asked."""

    def __init__(self, model: str, fingerprint: str, manner: Manner, folder: Path) -> None:
        self.model, self.fingerprint, self.manner = model, fingerprint, manner
        self.done = Evaluated(folder, {}, {})

    def own_task(self, data: DataConfig) -> None:
        """What a fine-tuned folder does, on these files."""
        opened = load_task(self.model, self.manner.device)
        loaded: Loaded[Any] = load_records(opened.task.record, data.test, data)
        opened.task.check_answers(loaded.records, loaded.places)
        loaded.notes.extend(_seen_in_training(find_task(Path(self.model)), data.test))
        self._examine(opened.kind, opened.task, opened.opened, loaded, data)

    def task_file(self, path: Path) -> None:
        """A task file of ours."""
        recipe, manner = read_settings(TaskRecipe, path), self.manner
        collection = collection_of(recipe)
        if collection is not None:
            task, opened = opened_for(self.model, recipe.task, None, manner.device)
            assert isinstance(task, Match | Rerank)
            title = str(Text("search", "检索"))
            found = examine_search(
                task, opened, some_queries(collection, manner.limit), resamples=manner.resamples, title=title
            )
            self._write(path.stem, found, recipe.data)
            return
        train, test = records_of(recipe)
        task, opened = opened_for(self.model, recipe.task, train, manner.device)
        if manner.shots or recipe.templates:
            self._study(path.stem, recipe, opened, train, test)
        else:
            self._examine(path.stem, task, opened, test, recipe.data)

    def harness(self, names: Sequence[str]) -> None:
        """Tasks of lm-evaluation-harness, by every number of shots that is asked for."""
        if not names:
            return
        from hanlin.evaluate.harness_run import examine_by_harness

        opened, manner = load(find_model(Path(self.model)), self.manner.device), self.manner
        for shots in manner.shots or (None,):
            found = examine_by_harness(opened, names, shots, manner.limit, manner.chat, manner.resamples)
            for name, examination in found.items():
                self._write(name if shots is None else f"{name}-{shots}-shot", examination, DataConfig())

    def _examine(
        self, name: str, task: AnyRecordTask, opened: Opened, loaded: Loaded[Any], data: DataConfig
    ) -> None:
        title, loaded = str(Text("examine", "评测")), some(loaded, self.manner.limit)
        found, said = examine_task(task, opened, loaded, resamples=self.manner.resamples, title=title)
        self._write(name, found, data, prediction_lines(task, with_answers(loaded), said))

    def _study(
        self, name: str, recipe: TaskRecipe, opened: Opened, train: Loaded[Any], test: Loaded[Any]
    ) -> None:
        manner = self.manner
        study = study_prompts(
            recipe.task, opened, train, some(test, manner.limit),
            shots=manner.shots or (0,), seeds=manner.seeds, orders=manner.orders, templates=recipe.templates,
            resamples=manner.resamples,
        )  # fmt: skip
        folder = self.done.folder / name
        write_text(folder / "prompts.json", study.model_dump_json(indent=1) + "\n")
        write_study_page(folder / "prompts.html", study, machine_line(), _lang())
        self.done.studies[name] = study

    def _write(
        self, name: str, found: TaskExamination, data: DataConfig, lines: Sequence[PredictionLine] = ()
    ) -> None:
        files = {str(path): checksum(path) for path in files_of((*data.train, *data.test))}
        found = found.model_copy(update={"files": files, "fingerprint": self.fingerprint})
        folder = self.done.folder / name
        write_task_results(folder, found, lines)
        write_task_page(folder / PAGE, found, _lang(), machine=machine_line())
        self.done.examinations[name] = found

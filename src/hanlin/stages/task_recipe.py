"""A task file, the records it names, and the model opened for it: what `hanlin evaluate MODEL --tasks` begins with."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hanlin.base.config import Settings
from hanlin.base.device import DeviceName, choose_compute
from hanlin.base.errors import CheckpointError, ConfigError
from hanlin.base.language import Text
from hanlin.checkpoint.folder import find_model
from hanlin.model.adapters.config import LoraConfig, PromptConfig
from hanlin.records.config import DataConfig
from hanlin.records.load import load_records
from hanlin.records.loaded import Loaded
from hanlin.records.retrieval import Retrieval, load_retrieval
from hanlin.records.sides import load_sides
from hanlin.tasks.begin import open_for
from hanlin.tasks.folder import NAME, find_task, load_task
from hanlin.tasks.kinds import AnyTask
from hanlin.tasks.match import Match
from hanlin.tasks.opened import Opened
from hanlin.tasks.rerank import Rerank
from hanlin.tasks.task import AnyRecordTask


class TaskRecipe(Settings):
    """A task file: what is asked, and of which records."""

    task: AnyTask
    """What is asked, by which method. For a fine-tuned folder the kind is enough: the rest is what it has learned."""
    data: DataConfig
    """test: what is examined, for match and rerank perhaps a collection in BEIR's layout; train: where labels and shots come from."""
    templates: tuple[str, ...] = ()
    """Other templates or prompts, to be tried beside the task's own."""


def is_task_recipe(path: Path) -> bool:
    """Whether a file is one of ours: under `task` it has settings, where those of lm-evaluation-harness have a name.

    Raises `ConfigError` if there is no such file.
    """
    if not path.is_file():
        raise ConfigError(
            Text(f"There is no task file {path}.", f"没有任务文件 {path}。"),
            Text("Check its path.", "请检查路径。"),
        )
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except yaml.YAMLError:
        return True  # reading it as ours says what is wrong
    return not (isinstance(values, dict) and isinstance(values.get("task"), str | list))


def collection_of(recipe: TaskRecipe) -> Retrieval | None:
    """The collection that `data.test` names, if it is one."""
    folders = recipe.data.test
    if not isinstance(recipe.task, Match | Rerank) or len(folders) != 1 or not folders[0].is_dir():
        return None
    return load_retrieval(folders[0]) if any(folders[0].glob("corpus.jsonl*")) else None


def records_of(recipe: TaskRecipe) -> tuple[Loaded[Any], Loaded[Any]]:
    """What labels and shots come from (where nothing is named, what is examined), and what is examined."""
    record, data = recipe.task.record, recipe.data
    if not data.test:
        sides = load_sides(record, data)
        return sides["train"], sides["test"]
    test: Loaded[Any] = load_records(record, data.test, data)
    return load_records(record, data.train, data) if data.train else test, test


def some(loaded: Loaded[Any], limit: int | None) -> Loaded[Any]:
    """At most `limit` of the records, drawn at random, always the same."""
    return loaded.chosen(drawn(len(loaded), limit))


def some_queries(collection: Retrieval, limit: int | None) -> Retrieval:
    """The collection with at most `limit` of its queries."""
    names = list(collection.queries)
    kept = [names[number] for number in drawn(len(names), limit)]
    return Retrieval(
        collection.corpus,
        {name: collection.queries[name] for name in kept},
        {name: collection.judgements[name] for name in kept},
        collection.notes,
    )


def drawn(count: int, limit: int | None) -> list[int]:
    """At most `limit` of the numbers 0 to count - 1, in order."""
    if limit is None or limit >= count:
        return list(range(count))
    numbers: list[int] = np.random.default_rng(0).choice(count, limit, replace=False).tolist()
    return sorted(numbers)


def opened_for(
    model: str, task: AnyRecordTask, records: Loaded[Any] | None, device: DeviceName
) -> tuple[AnyRecordTask, Opened]:
    """The task with its model: what a fine-tuned folder does, or a model that is asked as it is.

    Raises `ConfigError` for a task that the model has not learned.
    """
    if task.is_trained:
        return _learned(model, task, device)
    task = task.suited(find_model(Path(model)))
    task = task.begun(records.records, records.places) if records is not None else task
    opened, new = open_for(model, task, choose_compute(device), LoraConfig(), PromptConfig())
    if new:
        raise _not_learned(model, task)
    opened.model.eval()
    return task, opened


def _learned(model: str, task: AnyRecordTask, device: DeviceName) -> tuple[AnyRecordTask, Opened]:
    try:
        done = load_task(model, device)
    except CheckpointError:
        if (find_task(Path(model)) / NAME).is_file():
            raise
        raise _not_learned(model, task) from None
    if type(done.task) is not type(task):
        raise ConfigError(
            Text(f"{model} does a task of kind {done.kind}, and the task file asks for {_kind(task)}.",
                 f"{model} 的任务类型是 {done.kind}，而任务文件要求 {_kind(task)}。"),
            Text("Give a task file of its kind.", "请给出同类的任务文件。"),
        )  # fmt: skip
    return done.task, done.opened


def _kind(task: AnyRecordTask) -> str:
    return str(getattr(task, "kind", ""))


def _not_learned(model: str, task: AnyRecordTask) -> ConfigError:
    untrained = [method for method in task.methods if method in ("zero-shot", "few-shot")]
    return ConfigError(
        Text(f"{model} has not learned the task {_kind(task)} by the method {task.method}.",
             f"{model} 尚未以方法 {task.method} 学习任务 {_kind(task)}。"),
        Text("Fine-tune it first: hanlin finetune; " + (f"or set task.method to {' or '.join(untrained)}." if untrained else ""),
             "请先微调：hanlin finetune" + (f"；或把 task.method 设为 {' 或 '.join(untrained)}。" if untrained else "。")),
    )  # fmt: skip

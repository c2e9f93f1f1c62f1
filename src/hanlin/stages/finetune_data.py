"""The records of a fine-tuning: read, divided and checked, with the tasks that learn from them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hanlin.base.errors import ConfigError
from hanlin.base.files import sha256
from hanlin.base.language import Text
from hanlin.base.records import SPLITS, Split
from hanlin.records.config import DataConfig
from hanlin.records.loaded import Loaded
from hanlin.records.overlap import Overlaps, find_overlaps
from hanlin.records.sides import load_sides
from hanlin.stages.finetune_recipe import FinetuneRecipe
from hanlin.tasks.begin import check_method
from hanlin.tasks.task import AnyRecordTask

ONE = "task"
"""The name of a task that is learned alone."""


@dataclass(frozen=True)
class Learned:
    """One task with its records. `task` knows what the training records say, such as the names of the labels."""

    name: str
    task: AnyRecordTask
    data: DataConfig
    sides: dict[Split, Loaded[Any]]
    weight: float

    @cached_property
    def overlaps(self) -> Overlaps:
        """What stands twice, on one side or on two."""
        named: dict[str, Loaded[Any]] = dict(self.sides.items())
        return find_overlaps(named)

    @property
    def files(self) -> dict[str, str]:
        """The checksum of every file, by its path."""
        named = (*self.data.train, *self.data.valid, *self.data.test)
        return {str(path): checksum(path) for path in files_of(named)}


def read_learned(recipe: FinetuneRecipe) -> list[Learned]:
    """The tasks of a recipe with their records. Raises `DataError` and `ConfigError` for what cannot be learned from."""
    if recipe.task is not None:
        return [_learned(ONE, recipe.task, recipe.data, 1.0)]
    for name, part in recipe.tasks.items():
        if part.task.method != "full":
            raise ConfigError(
                Text(f"tasks.{name}.task.method is {part.task.method}; tasks that share a body are learned by the method full.",
                     f"tasks.{name}.task.method 为 {part.task.method}；共享主体的任务只能用方法 full 学习。"),
                Text("Leave method out, or learn the tasks one by one.", "请去掉 method，或逐个学习这些任务。"),
            )  # fmt: skip
    return [_learned(name, part.task, part.data, part.weight) for name, part in recipe.tasks.items()]


def suited(learned: Sequence[Learned], model: Path) -> list[Learned]:
    """The tasks with what the folder of the model that learns them says."""
    return [replace(part, task=part.task.suited(model)) for part in learned]


def training_texts(learned: Sequence[Learned]) -> Iterator[str]:
    """All that is read and written in training: what a new tokenizer is made from."""
    for part in learned:
        for record in part.sides["train"].records:
            yield from record.inputs
            if record.answer:
                yield record.answer


def files_of(named: Sequence[Path]) -> list[Path]:
    """Every file that is named, or lies in a folder that is."""
    inside = [
        sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path] for path in named
    ]
    return [path for paths in inside for path in paths]


def checksum(path: Path) -> str:
    """16 hexadecimal digits of what a file holds."""
    return sha256(path)[:16]


def _learned(name: str, task: AnyRecordTask, data: DataConfig, weight: float) -> Learned:
    check_method(task)
    if not data.train:
        raise ConfigError(
            Text("No training records are named.", "没有指定训练记录。"),
            Text(
                "Set data.train to a file, or give --train FILE.",
                "请把 data.train 设为文件，或给出 --train 文件。",
            ),
        )
    if data.folds and not data.test:  # every record is examined once: none is set apart for it
        data = data.model_copy(update={"split": data.split.model_copy(update={"test": 0.0})})
    sides: dict[Split, Loaded[Any]] = load_sides(type(task).record, data)
    for side in SPLITS:
        if not sides[side].records and not (side == "test" and data.folds):
            raise ConfigError(
                Text(f"There are no {side} records.", f"没有 {side} 记录。"),
                Text(f"Name files for them: data.{side}, or give them a share: data.split.{side}=0.1.",
                     f"请为其指明文件：data.{side}，或给它份额：data.split.{side}=0.1。"),
            )  # fmt: skip
    return Learned(name, task.begun(sides["train"].records, sides["train"].places), data, sides, weight)

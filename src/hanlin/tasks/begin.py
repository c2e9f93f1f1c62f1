"""A model opened to learn a task, or to do it as it is: with the head that the task needs, and its adapter if it is one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hanlin.base.device import Compute
from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.checkpoint.folder import find_model, open_model
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.adapters.config import LoraConfig, PromptConfig
from hanlin.model.rehead import with_head
from hanlin.model.seq2seq import Seq2Seq
from hanlin.tasks.opened import ADAPTER, Opened
from hanlin.tasks.task import AnyRecordTask


def open_for(
    model: str, task: AnyRecordTask, compute: Compute, lora: LoraConfig, prompt: PromptConfig
) -> tuple[Opened, list[str]]:
    """The model, and the names of parameters that are new: begun at random, from torch's current generator.

    Raises `ConfigError` for a method that the task cannot be done by or a head that does not fit the model, and as
    `open_model`.
    """
    check_method(task)
    folder = find_model(Path(model))
    opened_model, tokenizer, defaults = open_model(folder, compute)
    name = folder.resolve().name if Path(model).exists() else model
    return adapted(Opened(name, opened_model, tokenizer, compute, defaults), task, lora, prompt)


def adapted(
    opened: Opened, task: AnyRecordTask, lora: LoraConfig, prompt: PromptConfig
) -> tuple[Opened, list[str]]:
    """The opened model with the head and the adapter of the task; see `open_for`."""
    opened, new = with_head_of(opened, task)
    model = opened.model
    if task.method == "lora":
        adapters = Adapters(model)
        adapters.add(ADAPTER, lora.model_copy(update={"whole": (*lora.whole, *_layers(new))}))
        adapters.active = ADAPTER
        opened = replace(opened, adapters=adapters)
    if task.method == "prompt-tuning":
        adapters = Adapters(model)
        adapters.add(ADAPTER, prompt)
        adapters.active = ADAPTER
        opened = replace(opened, adapters=adapters)
    return opened, new


def with_head_of(opened: Opened, task: AnyRecordTask) -> tuple[Opened, list[str]]:
    """The opened model with the head of the task, and the names of its new parameters; see `open_for`."""
    model, head, new = opened.model, task.head(), list[str]()
    if head and not _has(model.config.model_dump(), head):
        if isinstance(model, Seq2Seq):
            raise ConfigError(
                Text("An encoder-decoder writes texts; it has no head for this task.", "编码器-解码器用于写出文本，没有适合此任务的 head。"),
                Text("Choose an encoder or a decoder.", "请选用编码器或解码器模型。"),
            )  # fmt: skip
        model, new = with_head(model, **head)
    return replace(opened, model=model), new


def check_method(task: AnyRecordTask) -> None:
    """Raise `ConfigError` for a method that the task cannot be done by."""
    if task.method not in task.methods:
        raise ConfigError(
            Text(f"This task cannot be done by the method {task.method}.", f"此任务不支持方法 {task.method}。"),
            Text(f"Set task.method to one of {', '.join(task.methods)}.", f"请把 task.method 设为 {'、'.join(task.methods)} 之一。"),
        )  # fmt: skip


def _has(config: dict[str, object], head: dict[str, object]) -> bool:
    return all(config.get(key) == value for key, value in head.items())


def _layers(new: Sequence[str]) -> tuple[str, ...]:
    """The linear layers of new parameters."""
    return tuple(dict.fromkeys(name.rpartition(".")[0] for name in new))

"""`hanlin serve`: a model folder, tasks, or both -> an HTTP service, with a chat page where there is a language model."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from types import MappingProxyType

import torch

from hanlin.base.config import settings_from_overrides
from hanlin.base.device import DeviceName
from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.checkpoint.folder import find_model
from hanlin.checkpoint.recognize import read_config
from hanlin.generate.embedding import load_encoder
from hanlin.generate.language_model import LanguageModel, load
from hanlin.serve.config import ServeConfig
from hanlin.serve.server import open_listener, serve
from hanlin.serve.versions import Source
from hanlin.serve.workers import supervise
from hanlin.tasks.folder import NAME, find_task, load_task, task_name
from hanlin.tasks.model import TaskModel


@dataclass(frozen=True)
class Served:
    """What is served, and how: all that a process needs to know. adapters, tasks: folders by name."""

    folder: Path
    config: ServeConfig
    device: DeviceName
    tasks: Mapping[str, str]
    encoder: str | None
    adapters: Mapping[str, str]

    def work(self, index: int, listener: socket) -> None:
        """Open everything and serve until told to stop, as process `index`."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        model, opened = open_served(self.folder, self.device, self.adapters, self.threads)
        opened |= {name: load_task(Path(place), self.device) for name, place in self.tasks.items()}
        encoder = None if self.encoder is None else load_encoder(self.encoder, self.device)
        serve(model, self.config, listener, opened, encoder, Source(self.folder, self.again), index)

    def again(self, folder: Path) -> LanguageModel:
        """Open a new version of the language model."""
        return load(folder, self.device, adapters=self.adapters, threads=self.threads)

    @property
    def threads(self) -> int | None:
        """Of the CPU, for each of several processes; None: all."""
        count = self.config.workers
        return None if count == 1 else max(1, (os.cpu_count() or 1) // count)


def run_serve(
    folder: Path,
    overrides: Sequence[str],
    device: DeviceName,
    tasks: Sequence[str] = (),
    encoder: str | None = None,
    adapters: Sequence[str] = (),
) -> int:
    """Serve until Ctrl-C; the exit code. The port is taken before the model is loaded, so that a taken one is told at once.

    tasks: `name=folder` of each task that is served beside the model; adapters: likewise, of the model. encoder: a model
    of sentence vectors.
    """
    config = settings_from_overrides(ServeConfig, overrides)
    named = [dict(_name_and_folder(one, option) for one in given)
             for given, option in ((tasks, "--task"), (adapters, "--adapter"))]  # fmt: skip
    served = Served(folder, config, device, named[0], encoder, named[1])
    listener = open_listener(config)
    if config.workers > 1:
        return supervise(config.workers, served.work, listener)
    served.work(0, listener)
    return 0


def open_served(
    folder: Path,
    device: DeviceName = "auto",
    adapters: Mapping[str, str] = MappingProxyType({}),
    threads: int | None = None,
) -> tuple[LanguageModel | None, dict[str, TaskModel]]:
    """What a folder is: a language model, or a task by its name. Raises as `load` and `load_task`, and `ConfigError` for
    adapters of a task."""
    found = find_task(folder)
    if not (found / NAME).is_file() and not (found / "adapter_config.json").is_file():
        core = read_config(find_model(folder))[1]
        if core.head in ("lm", "masked", "pretraining"):
            # The latter two are refused there, with what they are.
            return load(folder, device, adapters=adapters, threads=threads), {}
    if adapters:
        raise ConfigError(
            Text(f"{folder} is a task; only language models are served with adapters.",
                 f"{folder} 是任务；只有语言模型可以带适配器提供服务。"),
            Text("Leave out --adapter.", "请去掉 --adapter。"),
        )  # fmt: skip
    return None, {_name(task_name(found)): load_task(folder, device)}


def _name_and_folder(given: str, option: str) -> tuple[str, str]:
    name, equals, folder = given.partition("=")
    if not equals or not folder or _name(name) != name:
        raise ConfigError(
            Text(f"{option} {given}: not a name and a folder.", f"{option} {given}：不是“名称=目录”。"),
            Text(f"Write {option} name=folder; a name has letters, digits, - and _.",
                 f"请写作 {option} 名称=目录；名称由字母、数字、- 和 _ 组成。"),
        )  # fmt: skip
    return name, folder


def _name(name: str) -> str:
    """A name that can stand in an address."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "task"

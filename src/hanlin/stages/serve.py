"""`hanlin serve`: a model folder, tasks, or both -> an HTTP service, with a chat page where there is a language model."""

import re
from collections.abc import Sequence
from pathlib import Path

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
from hanlin.tasks.folder import NAME, find_task, load_task, task_name
from hanlin.tasks.model import TaskModel


def run_serve(
    folder: Path,
    overrides: Sequence[str],
    device: DeviceName,
    tasks: Sequence[str] = (),
    encoder: str | None = None,
) -> None:
    """Serve until Ctrl-C. The port is taken before the model is loaded, so that a taken one is told at once.

    tasks: `name=folder` of each task that is served beside the model. encoder: a model of sentence vectors, likewise.
    """
    config = settings_from_overrides(ServeConfig, overrides)
    places = dict(map(_name_and_folder, tasks))
    listener = open_listener(config)
    model, opened = open_served(folder, device)
    opened |= {name: load_task(place, device) for name, place in places.items()}
    serve(model, config, listener, opened, None if encoder is None else load_encoder(encoder, device))


def open_served(
    folder: Path, device: DeviceName = "auto"
) -> tuple[LanguageModel | None, dict[str, TaskModel]]:
    """What a folder is: a language model, or a task by its name. Raises as `load` and `load_task`."""
    found = find_task(folder)
    if not (found / NAME).is_file() and not (found / "adapter_config.json").is_file():
        core = read_config(find_model(folder))[1]
        if core.head in ("lm", "masked", "pretraining"):
            return load(folder, device), {}  # the latter two are refused there, with what they are
    return None, {_name(task_name(found)): load_task(folder, device)}


def _name_and_folder(given: str) -> tuple[str, str]:
    name, equals, folder = given.partition("=")
    if not equals or not folder or _name(name) != name:
        raise ConfigError(
            Text(f"--task {given}: not a name and a folder.", f"--task {given}：不是“名称=目录”。"),
            Text("Write --task name=folder; a name has letters, digits, - and _.",
                 "请写作 --task 名称=目录；名称由字母、数字、- 和 _ 组成。"),
        )  # fmt: skip
    return name, folder


def _name(name: str) -> str:
    """A name that can stand in an address."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "task"

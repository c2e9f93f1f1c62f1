"""A folder that does a task: a model or an adapter with `task.json`, or a foreign model with a head that says what it does."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from hanlin.base.config import Settings, mistakes
from hanlin.base.device import Compute, DeviceName, choose_compute
from hanlin.base.errors import CheckpointError, NewerFormatError
from hanlin.base.files import atomic_folder, recover_folder, write_further
from hanlin.base.language import Text
from hanlin.base.manifest import Manifest, read_manifest, verify_files, write_manifest
from hanlin.base.progress import console
from hanlin.checkpoint.adapters.read import load_adapter
from hanlin.checkpoint.adapters.write import base_fingerprint, save_adapter
from hanlin.checkpoint.family import Family
from hanlin.checkpoint.folder import find_model, open_model, save_model
from hanlin.checkpoint.recognize import choose_family, read_config
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.config import CoreConfig
from hanlin.tasks.begin import with_head_of
from hanlin.tasks.foreign import task_of
from hanlin.tasks.kinds import AnyTask
from hanlin.tasks.model import TaskModel
from hanlin.tasks.opened import ADAPTER, Opened
from hanlin.tasks.task import AnyRecordTask

NAME = "task.json"
FORMAT = 1


class TaskFile(Settings):
    """The content of `task.json`. base, fingerprint: the model that is needed beside the folder, if one is."""

    format: int = FORMAT
    task: AnyTask
    base: str | None = None
    fingerprint: str | None = None


def save_task(
    folder: Path,
    opened: Opened,
    task: AnyRecordTask,
    inputs: dict[str, str],
    report: dict[str, Any],
    base: str,
) -> Manifest:
    """Write what was learned as a folder that appears whole or not at all.

    It is a model folder; of an adapter an adapter folder, and of a task that nothing was trained for its settings alone:
    both need `base`, the path or name of the model that was opened, again.
    """
    if opened.adapters is None and task.is_trained:
        texts = {NAME: _text(task), **task.files(opened)}
        family = read_config(find_model(Path(base)))[0]
        return save_model(
            folder, opened.model, opened.tokenizer, opened.defaults, inputs, report, family, texts=texts
        )
    known = base_fingerprint(opened.model)
    texts = {NAME: _text(task, base, known)}
    if opened.adapters is not None:
        family = _family_beside(base, opened)
        return save_adapter(folder, opened.adapters, ADAPTER, family, base, report, inputs, texts)
    with atomic_folder(folder) as fresh:
        write_further(fresh, texts)
        return write_manifest(fresh, "task", task.model_dump(mode="json"), {**inputs, "base": known}, report)


def load_task(folder: Path | str, device: DeviceName = "auto", base: str | None = None) -> TaskModel:
    """Open what does a task: the folder of a fine-tuning or of its model, or a foreign model with a head for labels.

    base: the model that an adapter stands on, where it is not at its old place. Raises `CheckpointError` for a folder that
    is missing or damaged or does no task, and for a base that is missing or has changed; `NewerFormatError` for a
    `task.json` that a newer Hanlin wrote.
    """
    compute = choose_compute(device)
    found = find_task(Path(folder))
    name = task_name(found)
    if not (found / NAME).is_file():
        return _foreign(found, name, compute)
    file = read_task_file(found)
    opened = _on_base(found, name, file, compute, base) if file.base else _whole(found, name, compute)
    return TaskModel(name, file.task, opened)


def find_task(folder: Path) -> Path:
    """`folder` itself or the model inside it, the one that has a `task.json`; else as `find_model`."""
    candidates = [folder, folder / "model"]
    for candidate in candidates:
        recover_folder(candidate)
    found = next((path for path in candidates if (path / NAME).is_file()), None)
    several = sorted(path.parent.name for path in folder.glob(f"models/*/{NAME}")) if found is None else []
    if several:
        raise CheckpointError(
            Text(f"{folder} holds several tasks: {', '.join(several)}.", f"{folder} 中有多个任务：{'、'.join(several)}。"),
            Text(f"Name one of them: {folder / 'models' / several[0]}", f"请指明其中之一：{folder / 'models' / several[0]}"),
        )  # fmt: skip
    return found or find_model(folder)


def task_name(found: Path) -> str:
    """What a folder's task is called: the folder's name, or that of the run whose model it is."""
    path = found.resolve()
    return path.parent.name if path.name == "model" and path.parent.name else path.name


def read_task_file(folder: Path) -> TaskFile:
    """Read `task.json`. Raises `CheckpointError` if it is damaged, `NewerFormatError` if it is newer."""
    path = folder / NAME
    try:
        raw = json.loads(path.read_text("utf-8"))
        newer = isinstance(raw, dict) and int(raw.get("format", 0)) > FORMAT
        file = None if newer else TaskFile.model_validate(raw)
    except (ValueError, TypeError, RecursionError) as error:
        reason = mistakes(error) if isinstance(error, ValidationError) else Text(str(error), str(error))
        raise CheckpointError(
            Text(f"{path} is damaged: {reason.en}", f"{path} 已损坏：{reason.zh}"),
            Text("Restore it from a copy, or fine-tune again.", "请从备份恢复该文件，或重新微调。"),
        ) from error
    if file is None:
        raise NewerFormatError(
            Text(f"{path} has format {raw['format']}; this Hanlin reads up to format {FORMAT}.",
                 f"{path} 的格式版本为 {raw['format']}，当前 Hanlin 只能读到版本 {FORMAT}。"),
            Text("Upgrade Hanlin: pip install -U hanlin", "请升级 Hanlin：pip install -U hanlin"),
        )  # fmt: skip
    return file


def _text(task: AnyRecordTask, base: str | None = None, fingerprint: str | None = None) -> str:
    values = {
        "format": FORMAT,
        "task": task.model_dump(mode="json"),
        "base": base,
        "fingerprint": fingerprint,
    }
    return json.dumps(values, ensure_ascii=False, indent=1) + "\n"


def _family_beside(base: str, opened: Opened) -> Family:
    """The family whose names the tensors of an adapter have: the base's, where that knows such a head."""
    return choose_family(opened.model.config, read_config(find_model(Path(base)))[0], opened.tokenizer)[0]


def _whole(found: Path, name: str, compute: Compute) -> Opened:
    model, tokenizer, defaults = open_model(found, compute)
    return Opened(name, model, tokenizer, compute, defaults)


def _on_base(found: Path, name: str, file: TaskFile, compute: Compute, base: str | None) -> Opened:
    place = base or str(file.base)
    try:
        opened = _whole(find_model(Path(place)), name, compute)
    except CheckpointError as error:
        raise _no_base(found, place, error) from error
    if file.fingerprint != base_fingerprint(opened.model):
        raise CheckpointError(
            Text(f"{found} was made with another base: {place} has changed since.",
                 f"{found} 依赖的是另一个基础模型：{place} 已经改变。"),
            Text("Give the base as it was (--base PATH, base=... in Python), or fine-tune again.",
                 "请给出原来的基础模型（--base 路径，Python 中用 base=……），或重新微调。"),
        )  # fmt: skip
    if not file.task.is_trained:
        verify_files(found, read_manifest(found))
        return with_head_of(opened, file.task)[0]
    with torch.random.fork_rng(devices=[]):  # the new head's first values are overwritten by the adapter's
        opened, _ = with_head_of(opened, file.task)
    adapters = Adapters(opened.model)
    load_adapter(found, adapters, ADAPTER, _family_beside(place, opened))
    adapters.active = ADAPTER
    opened.model.eval()
    return replace(opened, adapters=adapters)


def _foreign(found: Path, name: str, compute: Compute) -> TaskModel:
    """A model that was not fine-tuned here, by what its settings say it does."""
    if (found / "adapter_config.json").is_file():
        raise _no_task(found, None)
    config = read_config(found)[1]
    task = task_of(config, found)
    if task is None:
        raise _no_task(found, config)
    console.print(
        str(Text(f"{name} has no {NAME}; by its head it does: {task.kind}.", f"{name} 中没有 {NAME}；按其 head，它的任务是 {task.kind}。")),
        markup=False,
    )  # fmt: skip
    return TaskModel(name, task, _whole(found, name, compute))


def _no_base(found: Path, place: str, error: CheckpointError) -> CheckpointError:
    return CheckpointError(
        Text(f"{found} needs its base, which cannot be opened: {error.problem.en}",
             f"{found} 需要其基础模型，但无法打开：{error.problem.zh}"),
        Text(f"Put it back to {place}, or say where it is: --base PATH (base=... in Python).",
             f"请放回 {place}，或指明其位置：--base 路径（Python 中用 base=……）。"),
    )  # fmt: skip


def _no_task(found: Path, config: CoreConfig | None) -> CheckpointError:
    there = Text("is an adapter", "是适配器") if config is None else Text(
        f"holds a model of head {config.head}", f"中的模型 head 为 {config.head}")  # fmt: skip
    return CheckpointError(
        Text(f"{found} {there.en} and has no {NAME}: it does no task yet.",
             f"{found} {there.zh}，且没有 {NAME}：它还不会做任何任务。"),
        Text("Fine-tune it first (hanlin finetune), or give a folder that was.",
             "请先微调（hanlin finetune），或给出已微调的目录。"),
    )  # fmt: skip

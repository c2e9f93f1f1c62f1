"""Tasks of lm-evaluation-harness run by a model of Hanlin, and what they find as examinations with intervals."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.evaluate.figures import Figure, figures
from hanlin.evaluate.harness import HanlinLM
from hanlin.evaluate.measure import Better, mean_of
from hanlin.evaluate.task_results import TaskExamination
from hanlin.generate.language_model import LanguageModel

KIND = "harness"


def examine_by_harness(
    model: LanguageModel,
    names: Sequence[str],
    shots: int | None = None,
    limit: int | None = None,
    chat: bool = False,
    resamples: int = 1000,
) -> dict[str, TaskExamination]:
    """The tasks of these names, or of these files (.yaml), by their names.

    shots: examples in the prompt; None: as each task says. limit: documents of each task. chat: whether the model's chat
    template stands around prompts. A figure that is a mean over documents has the interval of the bootstrap over them, any
    other 1.96 of the harness' own standard errors, if it has one. Raises `ConfigError` for a task that does not exist.
    """
    from lm_eval import simple_evaluate  # `HanlinLM` says so where it is missing
    from lm_eval.tasks import TaskManager

    files = [Path(name) for name in names if name.endswith((".yaml", ".yml"))]
    manager = TaskManager(
        include_path=sorted({str(path.parent) for path in files}) or None,
        include_defaults=len(files) < len(names),  # thousands of files, which take a while to read
    )
    asked = [_name_in(Path(name)) if Path(name) in files else name for name in names]
    for name in asked:
        if not manager.match_tasks([name]):
            raise _unknown(name)
    start = time.perf_counter()
    found: Any = simple_evaluate(
        model=HanlinLM(model),
        tasks=asked,
        num_fewshot=shots,
        limit=limit,
        apply_chat_template=chat,
        task_manager=manager,
        bootstrap_iters=resamples,
    )
    seconds = (time.perf_counter() - start) / max(1, len(found["results"]))
    return {
        name: _examination(model.name, name, found, chat, seconds, resamples)
        for name in found["results"]
        if name in found["samples"]
    }


def _examination(
    model: str, name: str, found: Mapping[str, Any], chat: bool, seconds: float, resamples: int
) -> TaskExamination:
    shots = found["n-shot"][name]
    return TaskExamination(
        kind=KIND,
        method=f"{shots}-shot",
        task={"name": name, "version": found["versions"].get(name), "shots": shots, "chat": chat},
        model=model,
        n=found["n-samples"][name]["effective"],
        figures=tuple(_figures(name, found, resamples)),
        seconds=seconds,
    )


def _figures(name: str, found: Mapping[str, Any], resamples: int) -> list[Figure]:
    higher, given = found["higher_is_better"][name], found["results"][name]
    made = []
    for key, value in given.items():
        metric, _, filter_name = key.partition(",")
        if not filter_name or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        better: Better = "higher" if higher.get(metric, True) else "lower"
        called = metric if filter_name == "none" else f"{metric} ({filter_name})"
        samples = [one.get(metric) for one in found["samples"][name] if one["filter"] == filter_name]
        numbers = all(isinstance(one, int | float) for one in samples)
        if numbers and samples and abs(float(np.mean(samples)) - value) < 1e-9:
            made += figures([mean_of(called, np.array(samples, np.float64), better)], resamples)
            continue
        error = given.get(f"{metric}_stderr,{filter_name}")
        reach = 1.96 * error if isinstance(error, int | float) else None
        low, high = (None, None) if reach is None else (value - reach, value + reach)
        made.append(Figure(name=called, value=value, low=low, high=high, n=len(samples), better=better))
    return made


def _name_in(path: Path) -> str:
    """What a task file of the harness is called there."""
    values = yaml.safe_load(path.read_text("utf-8"))
    return str(values["task"])


def _unknown(name: str) -> ConfigError:
    return ConfigError(
        Text(f"lm-evaluation-harness has no task {name}.", f"lm-evaluation-harness 中没有任务 {name}。"),
        Text("List them with: lm-eval ls tasks; a task file of your own ends in .yaml.",
             "可用 lm-eval ls tasks 列出；自己的任务文件以 .yaml 结尾。"),
    )  # fmt: skip

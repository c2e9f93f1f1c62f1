"""`hanlin compare`: models on the same records, by the paired bootstrap: which is better, how surely, and where they differ."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from hanlin.base.config import mistakes
from hanlin.base.device import DeviceName
from hanlin.base.errors import CheckpointError, ConfigError, DataError
from hanlin.base.language import Text
from hanlin.evaluate.compare_page import Comparison, Disagreement, Rival
from hanlin.evaluate.figures import difference, figures
from hanlin.evaluate.measure import Measure
from hanlin.evaluate.task_results import PREDICTIONS, RESULTS, read_task_results
from hanlin.records.config import DataConfig
from hanlin.records.load import load_records
from hanlin.tasks.examination import with_answers
from hanlin.tasks.folder import load_task
from hanlin.tasks.kinds import AnyTask
from hanlin.tasks.task import AnyRecordTask

EXAMINATION = "examination"
"""The folder in a fine-tuning that holds its examination."""


@dataclass(frozen=True)
class Examined:
    """What a model said of records whose answers are known, and where these stand."""

    name: str
    task: AnyRecordTask
    records: list[Any]
    predictions: list[Any]
    places: list[str]

    @property
    def keys(self) -> list[str]:
        """What each record is known by: its content, for files may have moved."""
        return [record.model_dump_json() for record in self.records]

    @property
    def measures(self) -> dict[str, Measure]:
        """By name, the main one first."""
        return {one.name: one for one in self.task.measures(self.records, self.predictions)}


def run_compare(
    models: Sequence[Path],
    test: DataConfig | None = None,
    resamples: int = 1000,
    seed: int = 0,
    device: DeviceName = "auto",
) -> Comparison:
    """Hold models against the first of them: by their examinations, or with `test` on the records of its files now.

    Raises `ConfigError` for fewer than two models, `CheckpointError` where there is no examination, and `DataError`
    where tasks or records are not the same, saying how many and which.
    """
    if len(models) < 2:
        raise ConfigError(
            Text("There is nothing to compare: name two models or more.", "无可比较：请给出两个或更多模型。"),
            Text("hanlin compare FIRST SECOND", "hanlin compare 第一个 第二个"),
        )
    first, *others = [_examined(model) if test is None else _examine(model, test, device) for model in models]
    aligned = [_aligned(first, other) for other in others]
    shared = _shared_names(first, aligned)
    rivals = [_rival(first, None, shared, resamples, seed)]
    rivals += [_rival(other, first, shared, resamples, seed) for other in aligned]
    return Comparison(kind=getattr(first.task, "kind"), n=len(first.records), rivals=tuple(rivals))  # noqa: B009


def find_examination(model: Path) -> Path:
    """The folder of an examination: itself, that of a fine-tuning or of its model, or that of its predictions."""
    folder = model.parent if model.name in (PREDICTIONS, RESULTS) else model
    places = [folder, folder / EXAMINATION, folder.parent / EXAMINATION]
    found = next((place for place in places if (place / RESULTS).is_file()), None)
    if found is None:
        raise CheckpointError(
            Text(f"{model} has no examination ({RESULTS}).", f"{model} 没有评测结果（{RESULTS}）。"),
            Text("Give the folder of a fine-tuning, or examine now: hanlin compare ... --test FILE",
                 "请给出微调所得的目录，或现在评测：hanlin compare …… --test 文件"),
        )  # fmt: skip
    return found


def _examined(model: Path) -> Examined:
    folder = find_examination(model)
    examination, lines = read_task_results(folder)
    try:
        task: AnyRecordTask = TypeAdapter(AnyTask).validate_python(examination.task)
        records = [task.record.model_validate(line.record) for line in lines]
        predictions = [task.prediction.model_validate(line.prediction) for line in lines]
    except ValidationError as error:
        reason = mistakes(error)
        raise CheckpointError(
            Text(f"{folder} is damaged or of another version: {reason.en}", f"{folder} 已损坏或版本不同：{reason.zh}"),
            Text("Examine the model again: hanlin compare ... --test FILE", "请重新评测：hanlin compare …… --test 文件"),
        ) from error  # fmt: skip
    return Examined(str(model), task, records, predictions, [line.place for line in lines])


def _examine(model: Path, test: DataConfig, device: DeviceName) -> Examined:
    opened = load_task(model, device)
    known = with_answers(load_records(type(opened.task).record, test.test, test))
    predictions = opened.task.predict(opened.opened, known.records, str(model))
    return Examined(str(model), opened.task, known.records, predictions, known.places)


def _aligned(first: Examined, other: Examined) -> Examined:
    """The other model's predictions in the order of the first one's records."""
    if first.task.record is not other.task.record:
        raise _other_task(first, other)
    places = defaultdict[str, list[int]](list)
    for number, key in enumerate(other.keys):
        places[key].append(number)
    order, missing = list[int](), list[str]()
    for key, place in zip(first.keys, first.places, strict=True):
        if places[key]:
            order.append(places[key].pop(0))
        else:
            missing.append(place)
    extra = [other.places[number] for numbers in places.values() for number in numbers]
    if missing or extra:
        raise _other_records(first, other, missing, extra)
    return replace(
        other,
        records=first.records,
        predictions=[other.predictions[number] for number in order],
        places=first.places,
    )


def _shared_names(first: Examined, others: Sequence[Examined]) -> list[str]:
    """Figures that all models have, in the first one's order."""
    shared = [name for name in first.measures if all(name in other.measures for other in others)]
    if not shared:
        raise _other_task(first, others[0])
    return shared


def _rival(
    model: Examined, first: Examined | None, shared: Sequence[str], resamples: int, seed: int
) -> Rival:
    measures = model.measures
    found = tuple(figures([measures[name] for name in shared], resamples, seed))
    if first is None:
        return Rival(name=model.name, figures=found)
    apart = tuple(difference(measures[name], first.measures[name], resamples, seed) for name in shared)
    before_N = first.task.wrongness(first.records, first.predictions)
    after_N = model.task.wrongness(model.records, model.predictions)
    gap_N = before_N - after_N
    differing = [n for n, (a, b) in enumerate(zip(_said(first), _said(model), strict=True)) if a != b]
    chosen = sorted(differing, key=lambda number: -abs(float(gap_N[number])))
    told = [_disagreement(first, model, number, float(gap_N[number])) for number in chosen]
    return Rival(
        name=model.name,
        figures=found,
        differences=apart,
        fixed=int(np.sum((before_N > 0) & (after_N == 0))),
        broken=int(np.sum((before_N == 0) & (after_N > 0))),
        differing=len(differing),
        better=tuple(one for one in told if one.gap > 0),
        worse=tuple(one for one in told if one.gap < 0),
    )


def _said(model: Examined) -> list[str]:
    return [model.task.said(prediction) for prediction in model.predictions]


def _disagreement(first: Examined, model: Examined, number: int, gap: float) -> Disagreement:
    record = first.records[number]
    return Disagreement(
        place=first.places[number],
        inputs=record.inputs,
        answer=record.answer,
        first=first.task.said(first.predictions[number]),
        second=model.task.said(model.predictions[number]),
        gap=gap,
    )


def _other_task(first: Examined, other: Examined) -> DataError:
    kinds = getattr(first.task, "kind"), getattr(other.task, "kind")  # noqa: B009
    return DataError(
        Text(f"{first.name} ({kinds[0]}) and {other.name} ({kinds[1]}) do not do the same task.",
             f"{first.name}（{kinds[0]}）与 {other.name}（{kinds[1]}）任务不同。"),
        Text("Compare models of one task.", "请比较同一任务的模型。"),
    )  # fmt: skip


def _other_records(first: Examined, other: Examined, missing: list[str], extra: list[str]) -> DataError:
    common = len(first.records) - len(missing)
    lines_en = [f"{len(places):,} only of {name}: {_some(places)}" for name, places in
                ((first.name, missing), (other.name, extra)) if places]  # fmt: skip
    lines_zh = [f"仅 {name} 有 {len(places):,} 条：{_some(places)}" for name, places in
                ((first.name, missing), (other.name, extra)) if places]  # fmt: skip
    return DataError(
        Text(f"{first.name} and {other.name} were not examined on the same records: {common:,} are common; {'; '.join(lines_en)}.",
             f"{first.name} 与 {other.name} 的评测记录不同：共有 {common:,} 条；{'；'.join(lines_zh)}。"),
        Text("Examine both on the same file: hanlin compare ... --test FILE", "请在同一文件上评测两者：hanlin compare …… --test 文件"),
    )  # fmt: skip


def _some(places: Sequence[str]) -> str:
    return ", ".join(places[:3]) + (" ..." if len(places) > 3 else "")

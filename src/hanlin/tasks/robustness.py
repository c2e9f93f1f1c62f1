"""The same records misspelt, recased, framed otherwise ...: how much of a task's quality stays, and what changes its mind."""

from collections.abc import Sequence
from random import Random
from typing import Any

from hanlin.base.errors import MissingExtra
from hanlin.base.language import Text
from hanlin.base.records import Record
from hanlin.evaluate.figures import difference, figures
from hanlin.evaluate.perturb import PERTURBATIONS, Perturbation
from hanlin.evaluate.perturb_records import perturbed
from hanlin.evaluate.task_results import Robustness
from hanlin.records.loaded import Loaded
from hanlin.tasks.opened import Opened
from hanlin.tasks.task import AnyRecordTask


def examine_robustness(
    task: AnyRecordTask,
    opened: Opened,
    known: Loaded[Any],
    predictions: Sequence[Record],
    *,
    resamples: int = 1000,
    seed: int = 0,
    perturbations: Sequence[Perturbation] = PERTURBATIONS,
    title: str = "",
) -> tuple[list[Robustness], list[Text]]:
    """Each change on the records that it touches, against the predictions of the same records as they are.

    known, predictions: from `examine_task`, records with answers and what is said of them. A change that touches none
    (typos of Latin letters in Chinese text) is left out, and so is one whose package is missing; the latter is told.
    """
    found, told = list[Robustness](), list[Text]()
    for how in perturbations:
        try:
            changed = [
                perturbed(record, how, Random(f"{seed} {how.name} {number}"))
                for number, record in enumerate(known.records)
            ]
        except MissingExtra as missing:
            told.append(Text(f"Not tried: {how.title.en}. {missing.problem.en}", f"未试：{how.title.zh}。{missing.problem.zh}"))  # fmt: skip
            continue
        touched = [number for number, record in enumerate(changed) if record != known.records[number]]
        if touched:
            before = (
                [known.records[number] for number in touched],
                [predictions[number] for number in touched],
            )
            after = [changed[number] for number in touched]
            said = task.predict(opened, after, f"{title}: {how.title}" if title else "")
            found.append(_compared(task, how, before, (after, said), resamples, seed))
    return found, told


def _compared(
    task: AnyRecordTask,
    how: Perturbation,
    before: tuple[list[Any], list[Any]],
    after: tuple[list[Any], list[Any]],
    resamples: int,
    seed: int,
) -> Robustness:
    clean, worse = task.measures(*before)[0], task.measures(*after)[0]
    flips = [task.said(old) != task.said(new) for old, new in zip(before[1], after[1], strict=True)]
    return Robustness(
        name=how.name,
        title=how.title,
        clean=figures([clean], resamples, seed)[0],
        perturbed=figures([worse], resamples, seed)[0],
        difference=difference(worse, clean, resamples, seed),
        flipped=sum(flips) / len(flips),
    )

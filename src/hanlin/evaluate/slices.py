"""A figure by groups of records: of what length, in what script, with what answer is the model good or bad?

N records.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from hanlin.base.records import TaskRecord
from hanlin.evaluate.figures import figures
from hanlin.evaluate.measure import Ids, Measure
from hanlin.evaluate.task_results import SliceFigure
from hanlin.evaluate.words import script_of

FEW = 30
"""A figure of fewer records than this is a hint, no more."""
MOST_GROUPS = 50
"""A column of more different values than this does not make groups."""
LENGTHS = 4
"""Groups by length, of about the same number of records."""


def slice_figures(
    records: Sequence[TaskRecord],
    measure: Measure,
    resamples: int = 1000,
    seed: int = 0,
    columns: Mapping[str, Sequence[str | None]] | None = None,
) -> list[SliceFigure]:
    """`measure` within each group of `records`: by length of what is read, script, answer, and each of `columns`.

    columns: the value of each record, by the name of the column; records of value None are in no group. Intervals are by
    resampling within the group. A grouping that has but one group, or more than `MOST_GROUPS`, is left out.
    """
    assert len(records) == measure.n
    texts = [" ".join(record.inputs) for record in records]
    groupings: dict[str, Sequence[str | None]] = {
        "length": length_groups([len(text) for text in texts]),
        "script": [script_of([text]) for text in texts],
        "answer": [record.answer for record in records],
        **(columns or {}),
    }
    return [
        SliceFigure(by=by, name=name, figure=figures([among(measure, members)], resamples, seed)[0])
        for by, values in groupings.items()
        for name, members in _groups(values)
    ]


def among(measure: Measure, members: Ids) -> Measure:
    """The measure of the records of the given numbers alone."""
    return Measure(measure.name, lambda ids: measure.of(members[ids]), len(members), measure.better)


def length_groups(lengths: Sequence[int]) -> list[str]:
    """The quarter that each length belongs to, as "1-45": the shortest and the longest in it."""
    length_N = np.array(lengths)
    bounds = np.unique(np.quantile(length_N, np.arange(1, LENGTHS) / LENGTHS, method="lower"))
    group_N = np.searchsorted(bounds, length_N)
    names = {
        group: f"{length_N[group_N == group].min()}-{length_N[group_N == group].max()}"
        for group in np.unique(group_N).tolist()
    }
    return [names[group] for group in group_N.tolist()]


def _groups(values: Sequence[str | None]) -> Iterator[tuple[str, Ids]]:
    """Each value with the numbers of the records that have it; numbers in their order, then words in theirs."""
    different = {value for value in values if value is not None}
    if not 1 < len(different) <= MOST_GROUPS:
        return
    for name in sorted(different, key=_order):
        yield name, np.array([number for number, value in enumerate(values) if value == name])


def _order(name: str) -> tuple[float, str]:
    first = name.split("-", 1)[0]
    return (float(first) if first.isdecimal() else np.inf), name

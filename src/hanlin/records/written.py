"""Rows as a text and what is to be written of it: translations, summaries, other wordings."""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from hanlin.base.language import Text
from hanlin.base.records import Written
from hanlin.records import names
from hanlin.records.columns import Columns, plain_name
from hanlin.records.loaded import Row
from hanlin.records.table import Table
from hanlin.records.values import BadRow, is_empty, label_of, list_of, text_of


def written(table: Table, columns: Columns, answers: bool) -> Callable[[Row], Written | None]:
    """A reader of rows as `Written`: a source and one or several targets; of two languages, the first is the source.

    Columns named `control.x` say what is asked for beside, under the name x.
    """
    _unfold_translations(table, columns)
    source, targets = _columns(table, columns, answers)
    controls = {name.removeprefix("control."): columns.need(name) for name in columns.fields("control.")}
    extra = columns.find("input", ("input",)) if plain_name(source) == "instruction" else None
    control = columns.find("control", ("control",))

    def read(row: Row) -> Written | None:
        said = [item for name in targets for item in list_of(row.values.get(name)) if not is_empty(item)]
        if not said and answers:
            raise BadRow(
                Text(
                    f"'{', '.join(targets)}' is empty: the target is missing",
                    f"“{'、'.join(targets)}”为空：缺少目标文本",
                ),
                Text("Fill it in, or take the row out.", "请补上内容，或删去该行。"),
            )
        text = text_of(row.values.get(source), source)
        if extra and not is_empty(row.values.get(extra)):
            text = f"{text}\n{text_of(row.values[extra], extra)}"
        return Written(
            source=text,
            targets=tuple(text_of(item, targets[0]) for item in said) or None,
            control=_controls(row.values.get(control) if control else None)
            | {name: text_of(row.values.get(column), column) for name, column in controls.items()},
        )

    return read


def _controls(cell: Any) -> dict[str, str]:
    if is_empty(cell):
        return {}
    if not isinstance(cell, dict):
        raise BadRow(
            Text("'control' is not an object of names and values", "“control”不是由名称和取值组成的对象"),
            Text('Write {"style": "formal"}.', '请写成 {"style": "formal"}。'),
        )
    return {str(name): label_of(value) for name, value in cell.items()}


def _unfold_translations(table: Table, columns: Columns) -> None:
    """Rows of one object of languages, {"translation": {"en": ..., "de": ...}}, get a column for each."""
    for name in columns.names:
        cells: list[Any] = [row.values.get(name) for row in table.rows]
        if plain_name(name) == "translation" and cells and all(isinstance(cell, dict) for cell in cells):
            for row, cell in zip(table.rows, cells, strict=True):
                row.values.update(cell)
            columns.add(list(cells[0]))


def _columns(table: Table, columns: Columns, answers: bool) -> tuple[str, list[str]]:
    """The column of the source and those of the targets."""
    if columns.is_named("source") or columns.is_named("target") or columns.is_named("targets"):
        field = "targets" if columns.is_named("targets") else "target"
        source = columns.need("source", ("source", "src", "text", "input"))
        others = ("target", "targets", "tgt", "summary", "output")
        target = columns.need(field, others) if answers else columns.find(field, others)
        return source, _numbered(columns, target)
    plain = {plain_name(name): name for name in columns.names}
    for first, second in names.SOURCE_TARGET:
        if plain_name(first) in plain and plain_name(second) in plain:
            columns.take("source", plain[plain_name(first)])
            return columns.taken["source"], _numbered(
                columns, columns.take("target", plain[plain_name(second)])
            )
    spoken = [name for name in columns.names if plain_name(name).split("hans")[0] in names.LANGUAGES]
    if len(spoken) == 2:
        table.notes.append(
            Text(
                f"{table.where}: '{spoken[0]}' is translated into '{spoken[1]}'; "
                f"for the other way: source: {spoken[1]}, target: {spoken[0]}.",
                f"{table.where}：由“{spoken[0]}”译为“{spoken[1]}”；反向请写 source: {spoken[1]}，target: {spoken[0]}。",
            )
        )
        return columns.take("source", spoken[0]), [columns.take("target", spoken[1])]
    if (table.numbered or len(columns.names) == 2) and len(columns.names) >= 2:
        return columns.take("source", columns.names[0]), [columns.take("target", columns.names[1])]
    if not answers:
        sources = [first for first, _ in names.SOURCE_TARGET] + list(names.TEXT)
        return columns.need("source", sources), []
    raise columns.missing("source" if len(columns.names) < 2 else "target", ("source", "target"))


def _numbered(columns: Columns, target: str | None) -> list[str]:
    """`summary1` stands for `summary1`, `summary2`, ...; any other column for itself."""
    if target is None:
        return []
    stem = target.rstrip("0123456789")
    alike = [name for name in columns.names if name.startswith(stem) and name[len(stem) :].isdecimal()]
    return alike if target in alike and len(alike) > 1 else [target]


def far_from_usual(records: Sequence[Written], factor: float) -> list[int]:
    """Numbers of records whose first target is, by its characters to those of the source, further than `factor` from the
    median of all: translations of something else, or cut ones."""
    ratios: dict[int, float] = {
        number: math.log(len(record.targets[0]) / len(record.source))
        for number, record in enumerate(records)
        if record.targets
    }
    usual = statistics.median(ratios.values()) if ratios else 0.0
    return [number for number, ratio in ratios.items() if abs(ratio - usual) > math.log(factor)]

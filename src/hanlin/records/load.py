"""Files of people as records of a task: every row is one, or is named with what is wrong with it and how to mend it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.base.records import (
    Dialogue,
    Extracted,
    Labelled,
    Matched,
    Question,
    Scored,
    TaggedWords,
    TaskRecord,
    Written,
)
from hanlin.records.columns import Columns
from hanlin.records.config import DataConfig
from hanlin.records.dialogues import dialogue
from hanlin.records.labelled import labelled, scored
from hanlin.records.loaded import Loaded, Problem, RecordT, Row
from hanlin.records.matched import matched
from hanlin.records.questions import question
from hanlin.records.rows import read_tables
from hanlin.records.table import Table
from hanlin.records.tagged import extracted_or_tagged, tagged_words
from hanlin.records.values import BadRow
from hanlin.records.written import far_from_usual, written

Reader = Callable[[Table, Columns, bool], Callable[[Row], TaskRecord | None]]

READERS: Mapping[type[TaskRecord], tuple[Reader, tuple[str, ...]]] = {
    Labelled: (labelled, ("text", "pair", "label")),
    Scored: (scored, ("text", "pair", "score")),
    TaggedWords: (tagged_words, ("words", "tags")),
    Question: (question, ("question", "context", "answers", "starts", "choices", "right")),
    Written: (written, ("source", "target", "targets", "input", "control")),
    Extracted: (extracted_or_tagged, ("text", "spans", "relations", "events", "words", "tags")),
    Matched: (matched, ("query", "found", "hard_negatives", "label")),
    Dialogue: (dialogue, ("messages", "system", "instruction", "input", "output", "history")),
}
"""Of each kind of record: what reads rows as such, and the fields whose columns can be named."""

_SAME: Mapping[type[TaskRecord], Mapping[str, tuple[str, ...]]] = {
    Labelled: {"labels": ("label",)},
    Scored: {"label": ("score",)},
    TaggedWords: {"text": ("words",), "label": ("tags",)},
    Question: {"text": ("question",), "pair": ("context",), "label": ("answers", "right")},
    Written: {"text": ("source",), "label": ("target",)},
    Extracted: {"label": ("spans",)},
    Matched: {"text": ("query",), "pair": ("found",)},
    Dialogue: {"text": ("instruction",), "label": ("output",)},
}
"""`text`, `pair` and `label` may be said of every kind of record: the fields that they then mean."""

_SHOWN = 5


def load_records(
    schema: type[RecordT], paths: Sequence[Path], config: DataConfig, answers: bool = True
) -> Loaded[RecordT]:
    """The records of some files, as `config` says how to read them.

    answers: whether every record must have its answer; for prediction it need not. Raises `DataError` for a path that
    does not exist, a column that is not there, files that are understood differently, no records at all, and with
    `on_error: stop` for rows that cannot be used, naming the first of them.
    """
    tables = read_tables(paths, config)
    loaded: Loaded[RecordT] = Loaded([], [], [])
    understood: dict[str, dict[str, str]] = {}
    for table in tables:
        loaded.skipped.extend(table.problems)
        if table.rows:
            understood[table.where] = _read_table(schema, table, config, answers, loaded)
    if schema is not Dialogue:  # conversations of several forms go together
        _check_alike(understood)
    loaded.columns.update(next(iter(understood.values()), {}))
    if config.on_error == "stop" and loaded.skipped:
        raise unusable(loaded.skipped)
    if not loaded.records:
        raise _nothing(paths, loaded.skipped)
    if config.length_ratio is not None and schema is Written:
        return _of_usual_length(loaded, config.length_ratio)
    return loaded


def _read_table(
    schema: type[RecordT], table: Table, config: DataConfig, answers: bool, loaded: Loaded[RecordT]
) -> dict[str, str]:
    """Add the records of one file to `loaded`; returns which columns were taken for which field."""
    reader, fields = READERS[schema]
    columns = Columns(table.columns, named_fields(schema, config.columns), table.where)
    columns.check_fields(fields)
    read = reader(table, columns, answers)
    for row in table.rows:
        try:
            record = read(row)
        except BadRow as bad:
            loaded.skipped.append(Problem(row.place, bad.reason, bad.mend))
            continue
        if record is not None:
            loaded.records.append(cast(RecordT, record))
            loaded.places.append(row.place)
            loaded.rows.append(row.values)
    loaded.notes.extend([*taken_columns(table, columns), *table.notes, *map(_changed, table.changed.items())])
    return columns.taken


def named_fields(schema: type[TaskRecord], columns: Mapping[str, str]) -> dict[str, str]:
    """The columns that the user names, by the fields of this kind of record."""
    same = _SAME[schema]
    return {field: name for given, name in columns.items() for field in same.get(given, (given,))}


def taken_columns(table: Table, columns: Columns) -> list[Text]:
    """Which columns were understood as what, and which were not used."""
    said = ", ".join(f"{field} = {column}" for field, column in columns.taken.items())
    used = {name for column in columns.taken.values() for name in column.split(", ")}
    rest = ", ".join(name for name in columns.names if name not in used)
    return [
        Text(
            f"{table.where}: {said}" + (f"; not used: {rest}." if rest else "."),
            f"{table.where}：{said}" + (f"；未用：{rest}。" if rest else "。"),
        )
    ]


def _changed(item: tuple[Text, list[str]]) -> Text:
    what, places = item
    shown = ", ".join(places[:3]) + (", ..." if len(places) > 3 else "")
    return Text(f"{len(places):,} rows: {what.en} ({shown}).", f"{len(places):,} 行：{what.zh}（{shown}）。")


def _check_alike(understood: Mapping[str, dict[str, str]]) -> None:
    """Raise `DataError` if two files of one side have different columns for the fields."""
    first = next(iter(understood), None)
    for where, columns in understood.items():
        if first is not None and columns != understood[first]:
            one, other = (
                ", ".join(f"{field} = {column}" for field, column in each.items())
                for each in (understood[first], columns)
            )
            raise DataError(
                Text(
                    f"Two files have different columns: {first} ({one}) and {where} ({other}).",
                    f"两个文件的列不同：{first}（{one}）与 {where}（{other}）。",
                ),
                Text(
                    "Give files of one side the same columns, or read them as different sides.",
                    "同一部分的文件应有相同的列；或把它们作为不同的部分读取。",
                ),
            )


def unusable(problems: Sequence[Problem]) -> DataError:
    """The error for rows that cannot be used: how many, the first of them, each with its mend."""

    def listed(language: str) -> str:
        lines = [
            f"  {one.place}: {getattr(one.reason, language)}. {getattr(one.mend, language)}"
            for one in problems[:_SHOWN]
        ]
        more = len(problems) - _SHOWN
        return "\n".join(lines + ([f"  ... (+{more:,})"] if more > 0 else []))

    return DataError(
        Text(
            f"{len(problems):,} rows cannot be used:\n{listed('en')}",
            f"有 {len(problems):,} 行无法使用：\n{listed('zh')}",
        ),
        Text(
            "Mend them, or set on_error: skip to leave such rows out and have them counted and listed.",
            "请修改这些行；或设 on_error: skip，跳过这类行并计数列出。",
        ),
    )


def _nothing(paths: Sequence[Path], problems: Sequence[Problem]) -> DataError:
    named = ", ".join(map(str, paths))
    why = f" ({problems[0].place}: {problems[0].reason.en})" if problems else ""
    why_zh = f"（{problems[0].place}：{problems[0].reason.zh}）" if problems else ""
    return DataError(
        Text(f"No records that can be used in {named}{why}.", f"{named} 中没有可用的记录{why_zh}。"),
        Text(
            "Check that the file is not empty, that its answers are filled in, and which columns hold them.",
            "请检查文件是否为空、答案是否填写，以及它们在哪些列。",
        ),
    )


def _of_usual_length(loaded: Loaded[Any], factor: float) -> Loaded[Any]:
    """Without translations of unusual length, which a note counts."""
    far = set(far_from_usual(loaded.records, factor))
    kept = loaded.chosen([number for number in range(len(loaded)) if number not in far])
    if far:
        what = Text(
            f"the target's length is further than {factor:g} times from the usual; left out",
            f"译文长度与通常比例相差 {factor:g} 倍以上，不取",
        )
        kept.notes.append(_changed((what, [loaded.places[number] for number in sorted(far)])))
    return kept

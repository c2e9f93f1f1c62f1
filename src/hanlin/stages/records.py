"""The `records` stage: what files of records hold, what is wrong with them, and the same as JSONL or for annotation."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hanlin.base.errors import DataError, MissingExtra
from hanlin.base.language import Text
from hanlin.base.records import (
    SPLITS,
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
from hanlin.records.annotate import read_annotations, write_annotations, write_records
from hanlin.records.config import DataConfig
from hanlin.records.doubts import Doubts, find_doubts
from hanlin.records.kinds import RecordKind
from hanlin.records.load import load_records
from hanlin.records.loaded import Loaded
from hanlin.records.overlap import Overlaps, find_overlaps
from hanlin.records.rows import file_groups
from hanlin.records.sides import side_in_name

SCHEMAS: dict[RecordKind, type[TaskRecord]] = {
    "classify": Labelled,
    "pair": Labelled,
    "regress": Scored,
    "tag": TaggedWords,
    "extract": Extracted,
    "extract-json": Extracted,
    "relate": Extracted,
    "match": Matched,
    "rerank": Matched,
    "answer": Question,
    "choice": Question,
    "reply": Question,
    "summarize": Written,
    "translate": Written,
    "rewrite": Written,
    "chat": Dialogue,
}
_SHOWN = 5
_SHOWN_CLASSES = 20


@dataclass(frozen=True)
class RecordsReport:
    """files: the records of each file (or pair of aligned ones), by its name. refused: those that cannot be read as such
    records, and why. doubts: of the largest file of classes; None: not looked for. written: files that were written."""

    files: dict[str, Loaded[Any]]
    refused: dict[str, DataError]
    overlaps: Overlaps
    doubts: Doubts | None = None
    written: list[Path] = field(default_factory=list)
    notes: list[Text] = field(default_factory=list)


def run_records(
    kind: RecordKind,
    paths: Sequence[Path],
    config: DataConfig,
    output: Path | None = None,
    annotate: Path | None = None,
    annotated: Path | None = None,
) -> RecordsReport:
    """Read files as records of a kind, look them over, and write them.

    output: JSONL of the records. annotate: the same for people to label, answers there or not. annotated: what they wrote,
    whose answers replace those of the files. Of several files, each is written under its own name beside. Raises
    `DataError` if no file can be read as such records.
    """
    files, refused = _read(kind, paths, config, answers=annotate is None and annotated is None)
    notes: list[Text] = []
    if annotated is not None:
        read = read_annotations(annotated, _together(files), on_error=config.on_error)
        notes.extend(read.notes)
        files = {annotated.name: read}
    written = []
    for name, loaded in files.items():
        if output is not None:
            written.append(_beside(output, name, files))
            write_records(written[-1], loaded)
        if annotate is not None:
            written.append(_beside(annotate, name, files))
            write_annotations(written[-1], loaded)
    doubts, said = _doubts(files)
    return RecordsReport(files, refused, find_overlaps(files), doubts, written, notes + said)


def _read(
    kind: RecordKind, paths: Sequence[Path], config: DataConfig, answers: bool
) -> tuple[dict[str, Loaded[Any]], dict[str, DataError]]:
    files: dict[str, Loaded[Any]] = {}
    refused: dict[str, DataError] = {}
    for group in sorted(file_groups(paths, config), key=_side_order):
        name = " + ".join(file.name for file in group)
        name = name if name not in files else " + ".join(map(str, group))
        try:
            loaded = load_records(SCHEMAS[kind], group, config, answers)
            if kind == "pair" and "pair" not in loaded.columns:
                raise _no_pair(name, loaded.columns)
            files[name] = loaded
        except DataError as error:
            refused[name] = error
    if not files:
        raise next(iter(refused.values()))
    return files, refused


def _side_order(group: tuple[Path, ...]) -> int:
    """Training files first, so that what the others share with them is said of the others."""
    side = side_in_name(group[0].name)
    return SPLITS.index(side) if side else 0


def _no_pair(name: str, columns: dict[str, str]) -> DataError:
    listed = ", ".join(f"{one} = {column}" for one, column in columns.items())
    return DataError(
        Text(
            f"{name} has no second text; understood: {listed}.",
            f"{name} 没有第二段文本；识别结果：{listed}。",
        ),
        Text("Name its column: --pair <column>.", "请指明它所在的列：--pair <列名>。"),
    )


def _together(files: dict[str, Loaded[Any]]) -> Loaded[Any]:
    parts = list(files.values())
    return Loaded(
        [record for part in parts for record in part.records],
        [place for part in parts for place in part.places],
        [row for part in parts for row in part.rows],
    )


def _beside(path: Path, name: str, files: dict[str, Loaded[Any]]) -> Path:
    """The path itself for one file; of several, with the name of each in it."""
    if len(files) == 1:
        return path
    plain = name.replace(" + ", "-").replace("/", "_")
    return path.with_name(f"{path.stem}.{plain}{path.suffix}")


def _doubts(files: dict[str, Loaded[Any]]) -> tuple[Doubts | None, list[Text]]:
    largest = max(files.values(), key=len)
    if not isinstance(largest.records[0], Labelled):
        return None, []
    try:
        return find_doubts(largest), []
    except MissingExtra as missing:
        return None, [
            Text(f"{missing.problem.en} {missing.remedy.en}", f"{missing.problem.zh}{missing.remedy.zh}")
        ]


def report_lines(report: RecordsReport) -> list[str]:
    """The report for people."""
    texts: list[Text] = []
    for name, loaded in report.files.items():
        texts.append(Text(f"{name}: {len(loaded):,} records", f"{name}：{len(loaded):,} 条记录"))
        texts.extend(
            _indented([*loaded.notes, *_problem_texts(loaded), *_balance(loaded), *_lengths(loaded)])
        )
    for name, error in report.refused.items():
        texts.append(Text(f"{name}: not read. {error.problem.en}", f"{name}：未读。{error.problem.zh}"))
    texts.append(Text("Standing twice:", "重复："))
    none = Text("nothing found", "没有发现")
    texts.extend(_indented(report.overlaps.texts() or [none]))
    if report.doubts is not None:
        texts.extend(_doubt_texts(report.doubts))
    texts.extend(report.notes)
    texts.extend(Text(f"Written: {path}", f"已写出：{path}") for path in report.written)
    return [str(text) for text in texts]


def _indented(texts: Sequence[Text]) -> Iterator[Text]:
    for text in texts:
        yield Text(f"  {text.en}", f"  {text.zh}")


def _problem_texts(loaded: Loaded[Any]) -> Iterator[Text]:
    if loaded.skipped:
        yield Text(f"{len(loaded.skipped):,} rows cannot be used:", f"{len(loaded.skipped):,} 行无法使用：")
    for one in loaded.skipped[:_SHOWN]:
        yield Text(
            f"  {one.place}: {one.reason.en}. {one.mend.en}", f"  {one.place}：{one.reason.zh}。{one.mend.zh}"
        )


def class_counts(loaded: Loaded[Any]) -> Counter[str]:
    """How often each class, tag, kind of span or relation stands in the records."""
    counts: Counter[str] = Counter()
    for record in loaded.records:
        if isinstance(record, Labelled):
            counts.update(record.labels or ())
        elif isinstance(record, TaggedWords):
            counts.update(record.tags or ())
        elif isinstance(record, Extracted):
            counts.update(span.kind for span in record.spans or ())
            counts.update(one.relation for one in record.relations or ())
    return counts


def _balance(loaded: Loaded[Any]) -> Iterator[Text]:
    counts = class_counts(loaded)
    if not counts:
        return
    total = sum(counts.values())
    shown = ", ".join(
        f"{name} {count:,} ({count / total:.1%})" for name, count in counts.most_common(_SHOWN_CLASSES)
    )
    more = ", ..." if len(counts) > _SHOWN_CLASSES else ""
    yield Text(f"{len(counts)} classes: {shown}{more}", f"{len(counts)} 个类别：{shown}{more}")
    if rare := [name for name, count in counts.items() if count == 1]:
        listed = ", ".join(rare[:_SHOWN])
        yield Text(f"{len(rare)} classes stand once: {listed}", f"{len(rare)} 个类别只出现一次：{listed}")


def length_figures(loaded: Loaded[Any]) -> dict[str, dict[str, int]]:
    """Median, 95th percentile and greatest number of characters of inputs and answers."""
    texts = {
        "inputs": [sum(map(len, record.inputs)) for record in loaded.records],
        "answers": [len(record.answer) for record in loaded.records if record.answer is not None],
    }
    return {
        name: dict(
            zip(("median", "95%", "most"), map(int, np.quantile(lengths, (0.5, 0.95, 1.0))), strict=True)
        )
        for name, lengths in texts.items()
        if lengths
    }


def _lengths(loaded: Loaded[Any]) -> Iterator[Text]:
    said = {"inputs": Text("inputs", "输入"), "answers": Text("answers", "答案")}
    for name, one in length_figures(loaded).items():
        figures = f"{one['median']:,} / {one['95%']:,} / {one['most']:,}"
        yield Text(
            f"characters of {said[name].en} (median / 95% / most): {figures}",
            f"{said[name].zh}字符数（中位 / 95% / 最多）：{figures}",
        )


def _doubt_texts(doubts: Doubts) -> Iterator[Text]:
    if doubts.of:
        yield Text(
            f"Doubtful labels: {len(doubts.found):,} of {doubts.of:,} (a simple model is right {doubts.accuracy:.1%})",
            f"可疑标签：{doubts.of:,} 条中有 {len(doubts.found):,} 条（简单模型正确率 {doubts.accuracy:.1%}）",
        )
    for one in doubts.found[:_SHOWN]:
        text = f"{one.place}: {one.label} -> {one.likelier} ({one.probability_likelier:.2f}): {one.text:.60}"
        yield Text(f"  {text}", f"  {text}")
    yield from _indented(doubts.notes)


def report_values(report: RecordsReport) -> dict[str, Any]:
    """The report for programs."""
    return {
        "files": {
            name: {
                "records": len(loaded),
                "columns": loaded.columns,
                "notes": [note.en for note in loaded.notes],
                "problems": [
                    {"place": one.place, "reason": one.reason.en, "mend": one.mend.en}
                    for one in loaded.skipped
                ],
                "classes": dict(class_counts(loaded).most_common()),
                "characters": length_figures(loaded),
            }
            for name, loaded in report.files.items()
        },
        "refused": {name: error.problem.en for name, error in report.refused.items()},
        "overlaps": [asdict(one) for one in report.overlaps.found],
        "contradictions": {
            "count": report.overlaps.contradictions,
            "examples": [asdict(one) for one in report.overlaps.contradicting],
        },
        "doubts": None
        if report.doubts is None
        else {**asdict(report.doubts), "notes": [note.en for note in report.doubts.notes]},
        "notes": [note.en for note in (*report.overlaps.notes, *report.notes)],
        "written": [str(path) for path in report.written],
    }

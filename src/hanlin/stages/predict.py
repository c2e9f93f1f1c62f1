"""`hanlin predict`: files of rows -> the same rows with what a model says of each.

Rows pass in chunks, so that files of any size need no more memory than a chunk. Predictions are kept in a journal beside
the output until all are made; then the files are read once more and the output appears whole.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

from hanlin.base.errors import DataError, HanlinError
from hanlin.base.interrupt import Interrupted, interruptible
from hanlin.base.language import Text
from hanlin.base.lock import locked
from hanlin.base.progress import console, progress_bar
from hanlin.base.records import Labelled, Matched, TaskRecord
from hanlin.evaluate.figures import figures
from hanlin.records.kinds import FormatName
from hanlin.records.loaded import Problem, Row
from hanlin.records.rows import files_in
from hanlin.records.stream import open_stream, stream_lines, stream_records
from hanlin.stages.lineage import model_fingerprint
from hanlin.stages.predict_journal import Journal
from hanlin.stages.predict_output import check_output, json_line, new_columns, write_rows
from hanlin.tasks.examination import has_answer
from hanlin.tasks.folder import find_task
from hanlin.tasks.model import TaskModel, is_filled

CHUNK, WRITING_CHUNK = 1024, 32
"""Rows that are predicted before they are saved; of tasks that write texts fewer, since each takes longer."""

MOST_MEASURED = 100_000
"""Rows with answers of which figures are made; those that follow are only predicted."""

MANY = 10_000
"""Rows whose figures hardly move: their intervals need fewer resamples."""

OnError = Literal["stop", "skip", "null"]
"""At a row that cannot be predicted: stop and name it; leave it out; keep it, with nothing predicted."""

SHOWN = 5

Pair = tuple[Row | None, TaskRecord | Problem]


@dataclass(frozen=True)
class Asked:
    """What to predict, and how. columns: of fields of the record, the column that holds them; default: guessed.

    spooled: standard input as a file, in place of others, so that it can be read again.
    """

    files: tuple[Path, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    format: FormatName | None = None
    probabilities: bool = False
    on_error: OnError = "stop"
    spooled: Path | None = None


@dataclass
class Tally:
    """What became of the rows."""

    rows: int = 0
    cut: list[str] = field(default_factory=list)
    cut_rows: int = 0
    problems: list[Problem] = field(default_factory=list)
    unpredicted: int = 0
    known: list[tuple[TaskRecord, Any]] = field(default_factory=list)

    def add(self, pair: Pair, said: dict[str, Any] | None, model: TaskModel) -> None:
        """Count a row with what was said of it."""
        row, record = pair
        self.rows += 1
        if isinstance(record, Problem) or said is None:
            assert isinstance(record, Problem)
            self.unpredicted += 1
            self.problems = [*self.problems, record][:SHOWN]
            return
        if said.get("cut"):
            self.cut_rows += 1
            self.cut = [*self.cut, row.place if row else ""][:SHOWN]
        if has_answer(record) and len(self.known) < MOST_MEASURED:
            self.known.append((record, model.task.prediction.model_validate(said)))


def run_predict(model: TaskModel, folder: str, asked: Asked, output: Path, fresh: bool = False) -> Tally:
    """Predict the rows of files and write them to `output`.

    Raises `Interrupted` after Ctrl-C: the same command goes on where it was, and gives the same bytes. Raises `DataError`
    for a file or column that is not there, and with `on_error` stop for a row that cannot be predicted, naming it;
    `ConfigError` if the unfinished prediction for this output was of something else.
    """
    check_output(output)
    beside = output.with_name(f".{output.name}.unfinished")
    if fresh:
        shutil.rmtree(beside, ignore_errors=True)
    with locked(beside):
        journal = Journal(beside / "predictions.jsonl", _identity(model, folder, asked))
        _predict_all(model, asked, journal)
        tally = Tally()
        names = _names(model, asked, journal)
        write_rows(output, _finished(model, asked, journal, tally), names)
    shutil.rmtree(beside)
    return tally


def stream_predictions(model: TaskModel, asked: Asked, lines: Iterable[str] | None, out: IO[str]) -> Tally:
    """Predict the rows of files, or of the lines of standard input, and write each to `out` as JSON as it comes."""
    tally, notes = Tally(), list[Text]()
    pairs = _pairs(model, asked, notes, lines)
    chunk = 1 if lines is not None and getattr(lines, "isatty", bool)() else chunk_of(model)
    while part := list(islice(pairs, chunk)):
        _tell(notes)
        for pair, said in zip(part, _said_of(model, part, asked.on_error), strict=True):
            tally.add(pair, said, model)
            for row in _output_row(model, asked, pair, said):
                out.write(json_line(row) + "\n")
        out.flush()
    return tally


def chunk_of(model: TaskModel) -> int:
    """Rows that are predicted together."""
    return CHUNK if model.task.head() else WRITING_CHUNK


def summary_lines(model: TaskModel, tally: Tally) -> list[str]:
    """What was done, what was cut, what could not be predicted, and how good it is where answers are known."""
    predicted = tally.rows - tally.unpredicted
    lines = [Text(f"{predicted:,} rows predicted by {model.name} ({model.kind}).",
                  f"{model.name}（{model.kind}）预测了 {predicted:,} 行。")]  # fmt: skip
    if tally.cut_rows:
        some = ", ".join(tally.cut) + (" ..." if tally.cut_rows > len(tally.cut) else "")
        most = model.opened.window(model.task.max_tokens)
        lines.append(Text(f"{tally.cut_rows:,} were longer than {most} tokens and cut: {some}",
                          f"{tally.cut_rows:,} 行超过 {most} 个词元而被截断：{some}"))  # fmt: skip
    if tally.unpredicted:
        lines.append(
            Text(f"{tally.unpredicted:,} could not be predicted:", f"{tally.unpredicted:,} 行无法预测：")
        )
        lines += [
            Text(f"  {one.place}: {one.reason.en}", f"  {one.place}：{one.reason.zh}")
            for one in tally.problems
        ]
    lines += _figure_lines(model, tally)
    return [str(line) for line in lines]


def _figure_lines(model: TaskModel, tally: Tally) -> Iterator[Text]:
    """How good the predictions of rows with known answers are; labels that the model never learned tell nothing of that."""
    labels = set(getattr(model.task, "labels", ()))
    is_strange = [
        isinstance(one, Labelled) and not labels.issuperset(one.labels or ()) for one, _ in tally.known
    ]
    strange = [one for (one, _), odd in zip(tally.known, is_strange, strict=True) if odd]
    if strange:
        names = sorted({label for one in strange for label in getattr(one, "labels", None) or ()} - labels)
        some = ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
        yield Text(f"{len(strange):,} rows have labels that the model did not learn ({some}); they are not measured.",
                   f"{len(strange):,} 行的标签是模型没有学过的（{some}），不计入评测。")  # fmt: skip
    known = [pair for pair, odd in zip(tally.known, is_strange, strict=True) if not odd]
    if known:
        records, predictions = zip(*known, strict=True)
        resamples = 1000 if len(records) <= MANY else 100
        for one in figures(model.task.measures(records, predictions), resamples):
            interval = "" if one.low is None else f" ({one.low:.4f} - {one.high:.4f})"
            said = f"{one.name} {one.value:.4f}{interval}, n = {one.n:,}"
            yield Text(said, said)


def _predict_all(model: TaskModel, asked: Asked, journal: Journal) -> None:
    """Fill the journal; raises as `run_predict`."""
    chunk = chunk_of(model)
    done = journal.begin(chunk)
    notes = list[Text]()
    pairs = _pairs(model, asked, notes)
    if done:
        console.print(str(Text(f"Going on behind row {done:,}.", f"从第 {done:,} 行之后继续。")))
        next(islice(pairs, done - 1, done))
    with interruptible() as interrupt, progress_bar() as bar:
        shown = bar.add_task(str(Text("predict", "预测")), total=None, completed=done, detail="")
        while part := list(islice(pairs, chunk)):
            if not done:
                _tell(notes)
            said = _said_of(model, part, asked.on_error)
            journal.append([_kept(*both) for both in zip(part, said, strict=True)])
            done += len(part)
            bar.update(shown, completed=done)
            if interrupt.requested:
                console.print(
                    str(Text(f"Stopped behind row {done:,}; saved. The same command goes on from there.",
                             f"已停在第 {done:,} 行之后，已保存。再次运行同一命令即可继续。"))
                )  # fmt: skip
                raise Interrupted


def _pairs(
    model: TaskModel, asked: Asked, notes: list[Text], lines: Iterable[str] | None = None
) -> Iterator[Pair]:
    if asked.spooled is not None:
        lines = _lines(asked.spooled)
    streams = (
        (open_stream(path, asked.format) for given in asked.files for path in files_in(given))
        if lines is None
        else iter([stream_lines(lines, "stdin")])
    )
    for stream in streams:
        for row, record in stream_records(model.task.record, stream, asked.columns, notes):
            yield row, _fit(row, record)


def _lines(path: Path) -> Iterator[str]:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        yield from file


def _fit(row: Row | None, record: TaskRecord | Problem | None) -> TaskRecord | Problem:
    if row is not None and (record is None or (isinstance(record, TaskRecord) and not is_filled(record))):
        return Problem(row.place, Text("there is no text", "没有文本"), Text("Fill it in.", "请补上文本。"))
    if isinstance(record, Matched):  # those that are to be found would be mixed with those of other rows
        return Matched(query=record.query, hard_negatives=(*record.found, *record.hard_negatives))
    assert record is not None
    return record


def _said_of(model: TaskModel, part: list[Pair], on_error: OnError) -> list[dict[str, Any] | None]:
    """The fields of each row's prediction; None of one that cannot be predicted, which then is a problem in `part`."""
    numbers = [number for number, (_, record) in enumerate(part) if isinstance(record, TaskRecord)]
    said: list[dict[str, Any] | None] = [None] * len(part)
    for number, one in _predicted(model, part, numbers):
        if isinstance(one, Problem):
            part[number] = (part[number][0], one)
        else:
            said[number] = one
    problem = next((record for _, record in part if isinstance(record, Problem)), None)
    if problem is not None and on_error == "stop":
        raise DataError(
            Text(f"{problem.place}: {problem.reason.en}. {problem.mend.en}", f"{problem.place}：{problem.reason.zh}。{problem.mend.zh}"),
            Text("Mend that row, or leave such rows out (--on-error skip) or keep them without prediction (--on-error null).",
                 "请修改该行；或略去这类行（--on-error skip），或保留而不预测（--on-error null）。"),
        )  # fmt: skip
    return said


def _predicted(
    model: TaskModel, part: Sequence[Pair], numbers: Sequence[int]
) -> Iterator[tuple[int, dict[str, Any] | Problem]]:
    """What is said of these rows of a part; where the model refuses some, the halves are tried alone."""
    if not numbers:
        return
    try:
        found = model.task.predict(model.opened, [part[number][1] for number in numbers])
    except HanlinError as error:
        if len(numbers) > 1:
            half = len(numbers) // 2
            yield from _predicted(model, part, numbers[:half])
            yield from _predicted(model, part, numbers[half:])
            return
        row = part[numbers[0]][0]
        assert row is not None
        reason = Text(error.problem.en.rstrip("."), error.problem.zh.rstrip("。"))
        yield numbers[0], Problem(row.place, reason, error.remedy)
        return
    yield from zip(numbers, (one.model_dump(mode="json") for one in found), strict=True)


def _finished(model: TaskModel, asked: Asked, journal: Journal, tally: Tally) -> Iterator[dict[str, Any]]:
    """The rows of the files once more, with what the journal says of each."""
    for (row, record), kept in zip(_pairs(model, asked, []), journal.read(), strict=True):
        said = kept["said"]
        if said is None:
            record = Problem(kept["place"], Text(*kept["reason"]), Text("", ""))
        tally.add((row, record), said, model)
        yield from _output_row(model, asked, (row, record), said)


def _kept(pair: Pair, said: dict[str, Any] | None) -> dict[str, Any]:
    """A line of the journal: what was said of a row, or why nothing was."""
    if said is not None:
        return {"said": said}
    assert isinstance(pair[1], Problem)
    return {"said": None, "place": pair[1].place, "reason": [pair[1].reason.en, pair[1].reason.zh]}


def _output_row(
    model: TaskModel, asked: Asked, pair: Pair, said: dict[str, Any] | None
) -> Iterator[dict[str, Any]]:
    row, record = pair
    if said is None and asked.on_error != "null":
        return
    values = {} if row is None else row.values
    if said is None:
        yield {**values, **dict.fromkeys(_blank_columns(model))}
        return
    if isinstance(record, Matched):
        said = {
            name: value
            for name, value in said.items()
            if name == ("scores" if record.hard_negatives else "vector")
        }
    yield {**values, **new_columns(model.task, said, asked.probabilities)}


def _blank_columns(model: TaskModel) -> list[str]:
    fields: dict[str, Any] = {
        name: [] if name == "labels" else None for name in model.task.prediction.model_fields
    }
    return list(new_columns(model.task, fields, False))


def _names(model: TaskModel, asked: Asked, journal: Journal) -> list[str]:
    """All columns of the output, those of the rows first."""
    rows = (row.values for row, _ in _pairs(model, asked, []) if row is not None)
    own = dict.fromkeys(name for values in rows for name in values)
    first = next((kept["said"] for kept in journal.read() if kept["said"]), None)
    new = _blank_columns(model) if first is None else new_columns(model.task, first, asked.probabilities)
    return list(dict.fromkeys([*own, *new]))


def _identity(model: TaskModel, folder: str, asked: Asked) -> dict[str, Any]:
    """What a journal's predictions hang on."""
    files = [path for given in asked.files for path in files_in(given)]
    stats = [path.stat() for path in files]
    return {
        "model": model_fingerprint(str(find_task(Path(folder)))),
        "device": model.opened.compute.device.type,
        "files": {
            str(path): [stat.st_size, stat.st_mtime_ns] for path, stat in zip(files, stats, strict=True)
        },
        "columns": asked.columns,
        "format": asked.format,
    }


def _tell(notes: list[Text]) -> None:
    for note in notes:
        console.print(str(note), markup=False, soft_wrap=True)
    notes.clear()

"""`hanlin predict`: files of rows -> the same rows with what a model says of each.

Rows pass in chunks, so that files of any size need no more memory than a chunk. Predictions are kept in a journal beside
the output until all are made; then the files are read once more and the output appears whole.
"""

import shutil
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from hanlin.base.interrupt import Interrupted, interruptible
from hanlin.base.language import Text
from hanlin.base.lock import locked
from hanlin.base.progress import console, progress_bar
from hanlin.records.loaded import Problem
from hanlin.records.rows import files_in
from hanlin.stages.journal import Journal, beside
from hanlin.stages.lineage import model_fingerprint
from hanlin.stages.predict_output import check_output, json_line, new_columns, write_rows
from hanlin.stages.predict_rows import Asked, Pair, pairs_of, said_of
from hanlin.stages.predict_summary import Tally
from hanlin.tasks.folder import find_task
from hanlin.tasks.model import TaskModel

CHUNK, WRITING_CHUNK = 1024, 32
"""Rows that are predicted before they are saved; of tasks that write texts fewer, since each takes longer."""


def run_predict(model: TaskModel, folder: str, asked: Asked, output: Path, fresh: bool = False) -> Tally:
    """Predict the rows of files and write them to `output`.

    Raises `Interrupted` after Ctrl-C: the same command goes on where it was, and gives the same bytes. Raises `DataError`
    for a file or column that is not there, and with `on_error` stop for a row that cannot be predicted, naming it;
    `ConfigError` if the unfinished prediction for this output was of something else.
    """
    check_output(output)
    folder_beside = beside(output)
    if fresh:
        shutil.rmtree(folder_beside, ignore_errors=True)
    journal = Journal(folder_beside / "predictions.jsonl", _identity(model, folder, asked))
    tally = Tally()
    try:
        with locked(folder_beside):
            _predict_all(model, asked, journal)
            names = _names(model, asked, journal)
            write_rows(output, _finished(model, asked, journal, tally), names)
            journal.rows = 0  # all of them stand in the output
    finally:
        if not journal.rows:
            shutil.rmtree(folder_beside, ignore_errors=True)
    return tally


def stream_predictions(model: TaskModel, asked: Asked, lines: Iterable[str] | None, out: IO[str]) -> Tally:
    """Predict the rows of files, or of the lines of standard input, and write each to `out` as JSON as it comes."""
    tally, notes = Tally(), list[Text]()
    pairs = pairs_of(model, asked, notes, lines)
    chunk = 1 if lines is not None and getattr(lines, "isatty", bool)() else chunk_of(model)
    while part := list(islice(pairs, chunk)):
        _tell(notes)
        for pair, said in zip(part, said_of(model, part, asked.on_error), strict=True):
            tally.add(pair, said, model)
            for row in _output_row(model, asked, pair, said):
                out.write(json_line(row) + "\n")
        out.flush()
    return tally


def chunk_of(model: TaskModel) -> int:
    """Rows that are predicted together."""
    return CHUNK if model.task.head() else WRITING_CHUNK


def _predict_all(model: TaskModel, asked: Asked, journal: Journal) -> None:
    """Fill the journal; raises as `run_predict`."""
    chunk = chunk_of(model)
    done = journal.begin(chunk)
    notes = list[Text]()
    pairs = pairs_of(model, asked, notes)
    if done:
        console.print(str(Text(f"Going on behind row {done:,}.", f"从第 {done:,} 行之后继续。")))
        next(islice(pairs, done - 1, done))
    with interruptible() as interrupt, progress_bar() as bar:
        shown = bar.add_task(str(Text("predict", "预测")), total=None, completed=done, detail="")
        while part := list(islice(pairs, chunk)):
            if not done:
                _tell(notes)
            said = said_of(model, part, asked.on_error)
            journal.append([_kept(*both) for both in zip(part, said, strict=True)])
            done += len(part)
            bar.update(shown, completed=done)
            if interrupt.requested:
                console.print(
                    str(Text(f"Stopped behind row {done:,}; saved. The same command goes on from there.",
                             f"已停在第 {done:,} 行之后，已保存。再次运行同一命令即可继续。"))
                )  # fmt: skip
                raise Interrupted


def _finished(model: TaskModel, asked: Asked, journal: Journal, tally: Tally) -> Iterator[dict[str, Any]]:
    """The rows of the files once more, with what the journal says of each."""
    for (row, record), kept in zip(pairs_of(model, asked, []), journal.read(), strict=True):
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
    row, _ = pair
    if said is None and asked.on_error != "null":
        return
    values = {} if row is None else row.values
    if said is None:
        yield {**values, **dict.fromkeys(_blank_columns(model))}
        return
    yield {**values, **new_columns(model.task, said, asked.probabilities)}


def _blank_columns(model: TaskModel) -> list[str]:
    fields: dict[str, Any] = {
        name: [] if name == "labels" else None for name in model.task.prediction.model_fields
    }
    return list(new_columns(model.task, fields, False))


def _names(model: TaskModel, asked: Asked, journal: Journal) -> list[str]:
    """All columns of the output, those of the rows first."""
    rows = (row.values for row, _ in pairs_of(model, asked, []) if row is not None)
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

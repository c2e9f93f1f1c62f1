"""The verb `records`: what files of task records hold, and what is wrong with them."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from hanlin.cli.arguments import Json, as_json, without_defaults
from hanlin.records.kinds import FormatName, RecordKind


def records(
    *files: Annotated[Path, Parameter(help="Files of records, or folders of such.")],
    as_: Annotated[RecordKind, Parameter(name="--as", help="The task that they are for.")],
    text: Annotated[
        str | None, Parameter(help="The column of the text (or question, source, words).")
    ] = None,
    pair: Annotated[str | None, Parameter(help="The column of the second text.")] = None,
    label: Annotated[str | None, Parameter(help="The column of the answer.")] = None,
    column: Annotated[
        tuple[str, ...], Parameter(negative=(), help="Other fields and their columns, such as source=en.")
    ] = (),
    format: Annotated[
        FormatName | None, Parameter(help="Default: by the ending and the form of the file.")
    ] = None,
    on_error: Annotated[
        Literal["stop", "skip"], Parameter(help="Stop at rows that cannot be used, or list them.")
    ] = "skip",
    length_ratio: Annotated[
        float | None, Parameter(help="Leave out translations this many times longer or shorter than usual.")
    ] = None,
    output: Annotated[Path | None, Parameter(help="Write the records as JSONL.")] = None,
    annotate: Annotated[
        Path | None, Parameter(help="Write them for people to label: .csv for spreadsheets, or .jsonl.")
    ] = None,
    annotated: Annotated[
        Path | None, Parameter(help="Read what people wrote into such a file, in place of the answers.")
    ] = None,
    json: Json = False,
) -> None:
    """Say what files of records hold: columns, classes, lengths, wrong rows, copies, leaks, doubtful labels."""
    from hanlin.records.config import DataConfig
    from hanlin.stages.records import report_lines, report_values, run_records

    columns = without_defaults(text=text, pair=pair, label=label)
    columns |= {field: name for field, _, name in (one.partition("=") for one in column)}
    config = DataConfig(columns=columns, format=format, on_error=on_error, length_ratio=length_ratio)
    report = run_records(as_, files, config, output, annotate, annotated)
    print(as_json(report_values(report)) if json else "\n".join(report_lines(report)))

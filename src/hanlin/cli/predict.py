"""The verb `predict`: what a fine-tuned model says of the rows of files."""

import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from hanlin.base.progress import console
from hanlin.cli.arguments import without_defaults

Format = Literal["jsonl", "json", "csv", "tsv", "parquet", "conll", "lines", "squad"]


def predict(
    model: Annotated[str, Parameter(help="The folder of a fine-tuning, or a foreign model with a head.")],
    *files: Annotated[
        Path,
        Parameter(
            help="JSONL, CSV, TSV, Parquet, CoNLL or text; without any, JSONL or texts from standard input."
        ),
    ],
    output: Annotated[
        Path | None,
        Parameter(help="A .jsonl, .csv, .tsv or .parquet file; without one, JSON lines are printed."),
    ] = None,
    text: Annotated[str | None, Parameter(help="The column of the text.")] = None,
    pair: Annotated[str | None, Parameter(help="The column of the second text.")] = None,
    column: Annotated[
        tuple[str, ...], Parameter(negative=(), help="Other fields and their columns, such as source=en.")
    ] = (),
    format: Annotated[
        Format | None, Parameter(help="Of the files, where their endings do not say it.")
    ] = None,
    probabilities: Annotated[
        bool, Parameter(negative=(), help="Add how probable each class is, a column each.")
    ] = False,
    on_error: Annotated[
        Literal["stop", "skip", "null"],
        Parameter(
            help="At a row that cannot be predicted: stop, leave it out, or keep it with nothing predicted."
        ),
    ] = "stop",
    base: Annotated[
        str | None, Parameter(help="The model that an adapter stands on, where it is not at its old place.")
    ] = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    fresh: Annotated[
        bool, Parameter(negative=(), help="Throw an unfinished prediction for this output away.")
    ] = False,
) -> None:
    """Let a fine-tuned model do its task on files; their columns stay, and what is predicted is added."""
    from hanlin.stages import predict as stage
    from hanlin.stages.predict_output import check_output
    from hanlin.stages.predict_rows import Asked
    from hanlin.stages.predict_summary import summary_lines
    from hanlin.tasks.folder import load_task

    check_output(output)
    columns = without_defaults(text=text, pair=pair)
    columns |= {field: name for field, _, name in (one.partition("=") for one in column)}
    opened = load_task(model, device, base)
    asked = Asked(files, columns, format, probabilities, on_error)
    if output is None:
        tally = stage.stream_predictions(opened, asked, None if files else sys.stdin, sys.stdout)
    elif files:
        tally = stage.run_predict(opened, model, asked, output, fresh)
    else:
        with tempfile.TemporaryDirectory() as folder:
            spooled = Path(folder) / "stdin"
            with open(spooled, "w", encoding="utf-8", errors="surrogateescape") as file:
                shutil.copyfileobj(sys.stdin, file)
            tally = stage.run_predict(opened, model, replace(asked, spooled=spooled), output, True)
    for line in summary_lines(opened, tally):
        console.print(line, markup=False, soft_wrap=True)
    if output is not None:
        print(output)

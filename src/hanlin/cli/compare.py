"""The verb `compare`: which of several models does a task better, and how surely."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from hanlin.base.language import speaks_chinese
from hanlin.cli.arguments import Json


def compare(
    *models: Annotated[
        Path,
        Parameter(
            help="Folders of fine-tunings or of examinations, or their predictions.jsonl; all against the first."
        ),
    ],
    test: Annotated[
        tuple[Path, ...],
        Parameter(
            consume_multiple=True,
            negative=(),
            help="Files on whose records all models are examined now; default: their own examinations.",
        ),
    ] = (),
    column: Annotated[
        tuple[str, ...],
        Parameter(negative=(), help="Fields of the test files and their columns, such as text=sentence."),
    ] = (),
    page: Annotated[Path | None, Parameter(help="A .html file for the page; default: none.")] = None,
    resamples: Annotated[int, Parameter(help="Bootstrap resamples behind each interval and p.")] = 1000,
    seed: Annotated[int, Parameter(help="Seed of the bootstrap.")] = 0,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    json: Json = False,
) -> None:
    """Hold models of one task against each other on the same records."""
    from rich.console import Console

    from hanlin.evaluate.compare_page import comparison_table, disagreed, verdict, write_compare_page
    from hanlin.records.config import DataConfig
    from hanlin.stages.compare import run_compare

    columns = {field: name for field, _, name in (one.partition("=") for one in column)}
    found = run_compare(
        models, DataConfig(test=test, columns=columns) if test else None, resamples, seed, device
    )
    lang: Literal["en", "zh"] = "zh" if speaks_chinese() else "en"
    if page is not None:
        write_compare_page(page, found, lang)
    if json:
        print(found.model_dump_json(indent=1))
        return
    out = Console(highlight=False, markup=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
    out.print(comparison_table(found, lang))
    for rival in found.others:
        out.print(f"{verdict(found, rival)} {disagreed(rival)}")
    if page is not None:
        out.print(page)

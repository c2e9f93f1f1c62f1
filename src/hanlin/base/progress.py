"""Progress of long work, on standard error; results go to standard output."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")

console = Console(stderr=True, highlight=False)
"""Where people read what is going on. Everything that a program reads goes to standard output instead."""


def page() -> Console:
    """Standard output for a page with tables, which are never cut to the width of a terminal: half a number is none."""
    return Console(soft_wrap=True, highlight=False, markup=False, width=2**20)


@contextlib.contextmanager
def progress_bar() -> Iterator[Progress]:
    """A rich progress display on standard error; silent when standard error is not a terminal."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        yield progress


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` while showing how many have passed."""
    with progress_bar() as progress:
        task = progress.add_task(description, total=total, detail="")
        for item in items:
            yield item
            progress.advance(task)

"""The learning-rate finder for people: a table, and a page with the losses over the rates."""

import math
from pathlib import Path

from rich.table import Table

from hanlin.base.language import Text
from hanlin.evaluate.chart import Series, line_chart
from hanlin.evaluate.labels import Lang
from hanlin.evaluate.page import Page, Plot, in_language, write_page
from hanlin.trainer.find_rate import RateSweep

COLUMNS = (
    Text("learning rate", "学习率"),
    Text("loss", "损失"),
    Text("smoothed loss", "平滑后的损失"),
    Text("", ""),
)
_LINES_OF_TABLE = 16


def rate_rows(found: RateSweep) -> list[list[str]]:
    """About sixteen rates evenly over the sweep, and those that matter."""
    marks = {found.lowest_at: str(Text("lowest loss", "损失最低"))}
    if found.suggested is not None:
        marks[found.suggested] = str(Text("suggested", "建议"))
    every = max(1, math.ceil(len(found.rates) / _LINES_OF_TABLE))
    return [
        [f"{rate:.2e}", f"{loss:.3f}", f"{smooth:.3f}", marks.get(rate, "")]
        for index, (rate, loss, smooth) in enumerate(
            zip(found.rates, found.losses, found.smoothed, strict=True)
        )
        if index % every == 0 or rate in marks
    ]


def rate_table(found: RateSweep) -> Table:
    """The table for a terminal."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in COLUMNS:
        table.add_column(str(column), justify="right", no_wrap=True)
    for row in rate_rows(found):
        table.add_row(*row)
    return table


def write_rate_page(path: Path, found: RateSweep, title: str, machine: str, lang: Lang = "en") -> None:
    """Write the page in English or Chinese, whole or not at all."""
    page = Page(
        kind=Text("learning-rate finder", "学习率搜索"),
        title=title,
        machine=machine,
        heading=Text("The learning rate", "学习率"),
        columns=COLUMNS,
        rows=rate_rows(found),
        sentences=[found.why],
        plots=_plots(found, lang),
    )
    write_page(path, page, lang)


def _plots(found: RateSweep, lang: Lang) -> list[Plot]:
    powers = [math.log10(rate) for rate in found.rates]
    lines = ((Text("loss", "损失"), found.losses), (Text("smoothed", "平滑后"), found.smoothed))
    series = [Series(in_language(name, lang), list(zip(powers, ys, strict=True))) for name, ys in lines]
    x, y = Text("power of ten of the learning rate", "学习率的十进对数"), Text("training loss", "训练损失")
    chart = line_chart(series, in_language(x, lang), in_language(y, lang))
    if chart is None:
        return []
    help_ = Text(
        "A new model is trained while its learning rate grows at each step (arXiv 1506.01186, section 3.3).",
        "从头训练一个模型，学习率逐步增大（arXiv 1506.01186，第 3.3 节）。",
    )
    names = tuple((number, one.name) for number, one in enumerate(series))
    return [Plot(Text("Loss over the learning rate", "损失与学习率"), help_, chart, names)]

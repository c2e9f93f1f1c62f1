"""The ladder for people: a table for the terminal, and one self-contained page with its plots."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from rich.table import Table

from hanlin.base.language import Text
from hanlin.evaluate.chart import Bar, Point, Series, bar_chart, line_chart
from hanlin.evaluate.gradients import reach
from hanlin.evaluate.labels import Lang
from hanlin.evaluate.ladder import Ladder, Rung
from hanlin.evaluate.page import Page, Plot, in_language, write_page
from hanlin.evaluate.recall import recall_reach
from hanlin.evaluate.results import Difference

NAMES: dict[str, Text] = {
    "uniform": Text("uniform", "均匀分布"),
    "n-gram": Text("n-gram", "n 元模型"),
    "feed-forward": Text("feed-forward", "前馈网络"),
    "rnn": Text("RNN", "RNN"),
    "lstm": Text("LSTM", "LSTM"),
    "gru": Text("GRU", "GRU"),
    "transformer": Text("Transformer", "Transformer"),
}
"""What each rung is called."""


@dataclass(frozen=True)
class Column:
    """A column of the table: what it is called, and what it says of a rung and of its difference to the one below."""

    title: Text
    say: Callable[[Rung, Difference | None, Ladder], str]


def _bits(rung: Rung, _difference: Difference | None, _ladder: Ladder) -> str:
    interval = rung.figures.bits_per_byte_interval
    spread = f" [{interval.low:.2f}, {interval.high:.2f}]" if interval else ""
    return f"{rung.figures.bits_per_byte:.3f}{spread}"


def _step_up(_rung: Rung, difference: Difference | None, _ladder: Ladder) -> str:
    if difference is None:
        return ""
    spread = ""
    if difference.interval is not None:
        spread = f" [{difference.interval.low:+.2f}, {difference.interval.high:+.2f}]"
    return f"{difference.bits_per_byte:+.3f}{spread}"


def _recall(rung: Rung, _difference: Difference | None, ladder: Ladder) -> str:
    if not rung.recall:
        return ""
    return str(recall_reach(ladder.config.recall_distances, list(rung.recall)))


COLUMNS = (
    Column(Text("rung", "级"), lambda rung, _d, _l: str(NAMES[rung.name])),
    Column(Text("parameters", "参数量"), lambda rung, _d, _l: f"{rung.parameters:,}"),
    Column(Text("bits per byte", "比特/字节"), _bits),
    Column(Text("against the rung below", "与下一级之差"), _step_up),
    Column(Text("tokens/s", "词元/秒"), lambda r, _d, _l: f"{r.tokens_per_second:,.0f}" if r.tokens_per_second else ""),
    Column(Text("seconds", "用时（秒）"), lambda r, _d, _l: f"{r.cost.seconds:.1f}" if r.cost.seconds else ""),
    Column(Text("CPU seconds", "CPU 秒"), lambda r, _d, _l: f"{r.cost.cpu_seconds:.1f}" if r.cost.seconds else ""),
    Column(Text("peak MiB", "峰值 MiB"), lambda r, _d, _l: f"{r.cost.peak_bytes / 2**20:,.0f}" if r.cost.seconds else ""),
    Column(Text("gradient reaches", "梯度可达"), lambda r, _d, _l: str(reach(np.array(r.gradient))) if r.gradient else ""),
    Column(Text("recalls", "记忆可达"), _recall),
)  # fmt: skip
"""What the table says, from left to right."""


def ladder_rows(ladder: Ladder) -> list[list[str]]:
    """The table: for each rung what each of `COLUMNS` says."""
    below = {difference.first: difference for difference in ladder.differences}
    return [[column.say(rung, below.get(rung.name), ladder) for column in COLUMNS] for rung in ladder.rungs]


def ladder_table(ladder: Ladder) -> Table:
    """The table for a terminal."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in COLUMNS:
        table.add_column(str(column.title), justify="left" if column is COLUMNS[0] else "right", no_wrap=True)
    for row in ladder_rows(ladder):
        table.add_row(*row)
    return table


def legend(ladder: Ladder) -> list[Text]:
    """What the columns mean, a sentence each."""
    budget_en = (
        f"{ladder.config.tokens:,} tokens" if ladder.config.tokens else f"{ladder.config.seconds:g} seconds"
    )
    budget_zh = (
        f"{ladder.config.tokens:,} 个词元" if ladder.config.tokens else f"{ladder.config.seconds:g} 秒"
    )
    return [
        Text(
            f"Every network learned from the same corpus under a budget of {budget_en} and has at most as many parameters "
            "as the Transformer (for the n-gram model: the n-grams that it keeps, counted in one pass).",
            f"各网络均在同一语料上以 {budget_zh}为预算训练，参数量不超过 Transformer（n 元模型一行为其保留的 n 元组数，只统计一遍）。",
        ),
        Text(
            f"Bits per byte on {ladder.documents:,} documents of the {ladder.split} split ({ladder.bytes:,} bytes); lower is better. "
            "Brackets: 95 % intervals, bootstrap over documents; those of differences are paired, and leave out 0 where the "
            "difference is more than chance.",
            f"比特/字节在 {ladder.split} 数据集的 {ladder.documents:,} 篇文档（{ladder.bytes:,} 字节）上测得，越低越好。"
            "方括号内为 95 % 区间（按文档自助重抽样）；差值为配对比较，区间不含 0 即并非偶然。",
        ),
        Text(
            "Peak MiB: memory while training beyond what the process held before. Gradient reaches: the longest distance at which "
            "a token still moves the loss by 1 % of what the last token does. Recalls: the longest distance up to which 90 % of "
            f"the questions of the recall task are answered rightly (guessing: {ladder.recall_chance:.0%}).",
            "峰值 MiB：训练时超出进程原有的内存。梯度可达：某词元对损失的影响仍有末词元 1 % 的最远距离。"
            f"记忆可达：回忆任务中正确率保持在 90 % 以上的最远距离（猜测为 {ladder.recall_chance:.0%}）。",
        ),
    ]  # fmt: skip


@dataclass(frozen=True)
class Panel:
    """One plot: its heading and sentence, its axes, the points of a rung, and whether y is logarithmic."""

    title: Text
    help: Text
    x: Text
    y: Text
    points: Callable[[Rung, Ladder], Sequence[Point]]
    log: bool = False


def _relative_gradient(rung: Rung, _ladder: Ladder) -> list[Point]:
    return [(k, gradient / rung.gradient[0]) for k, gradient in enumerate(rung.gradient)]


def _recall_points(rung: Rung, ladder: Ladder) -> list[Point]:
    return list(zip(ladder.config.recall_distances, rung.recall, strict=True)) if rung.recall else []


PANELS = (
    Panel(
        Text("Training", "训练"),
        Text(
            "Mean loss of the last steps, in nats a token, over the tokens learned from.",
            "最近若干步的平均损失（每词元奈特数），横轴为已学习的词元数。",
        ),
        Text("tokens", "词元"),
        Text("training loss", "训练损失"),
        lambda rung, _ladder: rung.losses,
    ),
    Panel(
        Text("Gradient over distance", "梯度与距离"),
        Text(
            "How much the vector of a token k places back moves the loss at the last one, as a share of what the last "
            "token itself does. A straight fall on this logarithmic axis is the vanishing gradient of recurrent "
            "networks; a feed-forward network ends where its window does.",
            "向前第 k 个词元的向量对末位损失的影响，占末位词元影响的比例。在对数轴上直线下落即循环网络的梯度消失；前馈网络止于其窗口。",
        ),
        Text("tokens back", "向前的词元数"),
        Text("share of the gradient at distance 0", "占距离 0 处梯度的比例"),
        _relative_gradient,
        log=True,
    ),
    Panel(
        Text("Recall at a distance", "远距离记忆"),
        Text(
            "Share of right answers in the recall task: one of 16 symbols is shown, noise follows, and k tokens later "
            "the symbol is asked for. Each network is trained anew on this task alone.",
            "回忆任务的正确率：先出现 16 个符号之一，随后是噪声，k 个词元之后询问该符号。每个网络都单独为此任务重新训练。",
        ),
        Text("tokens between", "相隔的词元数"),
        Text("share of right answers", "正确率"),
        _recall_points,
    ),
)
"""The plots of the page, in order."""


def write_ladder_report(path: Path, ladder: Ladder, title: str, machine: str, lang: Lang = "en") -> None:
    """Write the page in English or Chinese, whole or not at all."""
    page = Page(
        kind=Text("ladder of models", "模型阶梯"),
        title=title,
        machine=machine,
        heading=Text("The rungs", "各级"),
        columns=[column.title for column in COLUMNS],
        rows=ladder_rows(ladder),
        sentences=legend(ladder),
        plots=_plots(ladder, lang),
        bars=_bars(ladder, lang),
    )
    write_page(path, page, lang)


def _bars(ladder: Ladder, lang: Lang) -> Markup | None:
    bars = []
    for rung in ladder.rungs:
        interval = rung.figures.bits_per_byte_interval
        ends = (interval.low, interval.high) if interval else (None, None)
        bars.append(Bar(in_language(NAMES[rung.name], lang), rung.figures.bits_per_byte, *ends))
    return bar_chart(bars, in_language(Text("bits per byte", "比特/字节"), lang))


def _plots(ladder: Ladder, lang: Lang) -> list[Plot]:
    plots = []
    for panel in PANELS:
        series = [
            Series(in_language(NAMES[rung.name], lang), panel.points(rung, ladder)) for rung in ladder.rungs
        ]
        chart = line_chart(series, in_language(panel.x, lang), in_language(panel.y, lang), panel.log)
        if chart is not None:
            lines = tuple((number, one.name) for number, one in enumerate(series) if one.points)
            plots.append(Plot(panel.title, panel.help, chart, lines))
    return plots

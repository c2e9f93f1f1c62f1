"""The examination of a task as one self-contained page: no script, nothing loaded, every text escaped."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from markupsafe import Markup

from hanlin.base.language import Text
from hanlin.evaluate.chart import Axis, Chart, Series, line_chart
from hanlin.evaluate.figure_names import figure_name, span, written
from hanlin.evaluate.figures import Figure
from hanlin.evaluate.heat import heat_map
from hanlin.evaluate.labels import Lang, measure_label
from hanlin.evaluate.page import in_language, write_template
from hanlin.evaluate.report import plain
from hanlin.evaluate.task_results import TaskExamination

MOST_WRONG = 40
MOST_CHARACTERS = 700
"""Of one text of a wrong prediction."""
IN_HUNDREDTHS = ("bleu", "chrf")
BOUNDLESS = ("log_loss", "brier", "mse", "rmse", "mae", "perplexity", "bits_per_byte", "bits_per_character")
"""Figures that no bar can show."""

_GROUPS = {
    "length": Text("By length in characters", "按长度（字符数）"),
    "script": Text("By script", "按文字"),
    "answer": Text("By answer", "按答案"),
}


@dataclass(frozen=True)
class Header:
    """What the frame of a page asks for."""

    kind: Text
    title: str
    machine: str = ""


def write_task_page(
    path: Path,
    examination: TaskExamination,
    lang: Lang = "en",
    *,
    title: str = "",
    machine: str = "",
    curves: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write the page in English or Chinese, whole or not at all. curves: the rows of `metrics.jsonl` of the training."""
    x = examination
    named = _Named(lang)
    header = Header(
        Text(f"examination · {x.kind}, {x.method}", f"评测 · {x.kind}，{x.method}"), title or x.model, machine
    )
    write_template(
        path,
        "task.html.jinja",
        lang,
        page=header,
        x=x,
        tiles=_tiles(x, named, lang),
        named=named,
        named_figures=named(x.figures),
        name_of=named.one,
        baselines=_baselines(x, lang),
        counted=counted(x),
        heat=x.confusion and heat_map(x.confusion),
        reliability=_reliability(x, lang),
        reliability_lines=[in_language(text, lang) for text in _RELIABILITY],
        slices=_slices(x, lang),
        curves=_curves(curves, lang),
        worst=x.worst[:MOST_WRONG],
        wrong_help=_wrong_help(x),
        written=written,
        span=span,
        bar=interval_bar,
        cut=lambda text: cut(text, lang),
        plain=lambda value: _setting(value, lang),
    )


def counted(x: TaskExamination) -> Text:
    """How many records the figures are of, and how many were left out."""
    left_out = [
        (x.skipped, Text("rows could not be used", "行无法使用")),
        (x.unanswered, Text("have no known answer", "条没有已知答案")),
        (x.cut, Text("were too long and were cut", "条过长而被截断")),
    ]
    more_en = "".join(f", {count:,} {what.en}" for count, what in left_out if count)
    more_zh = "".join(f"，{count:,} {what.zh}" for count, what in left_out if count)
    return Text(
        f"{x.n:,} records{more_en}. Predicted in {x.seconds:.1f} s ({x.rows_per_second:,.0f} a second).",
        f"{x.n:,} 条记录{more_zh}。预测用时 {x.seconds:.1f} 秒（每秒 {x.rows_per_second:,.0f} 条）。",
    )


def interval_bar(figure: Figure) -> Markup:
    """A small bar from zero to the value, and a line over its interval; none of a figure without a natural scale."""
    ends = [end for end in (figure.low, figure.high, figure.value) if end is not None]
    top = 100 if figure.name in IN_HUNDREDTHS else 1
    bottom = -top if min(ends) < 0 else 0
    if figure.name in BOUNDLESS or max(ends) > top or min(ends) < bottom:
        return Markup()
    axis = Axis(bottom, top, 1, 149)
    left, right = sorted((axis(0), axis(figure.value)))
    low, high = axis(min(ends)), axis(max(ends))
    return Markup(
        '<svg class="interval" viewBox="0 0 150 14" aria-hidden="true"><rect class="room" x="1" y="2" width="148" height="10" rx="2"/>'
        '<rect class="reach" x="{:.1f}" y="2" width="{:.1f}" height="10" rx="2"/>'
        '<line x1="{:.1f}" x2="{:.1f}" y1="7" y2="7"/><line x1="{:.1f}" x2="{:.1f}" y1="3" y2="11"/>'
        '<line x1="{:.1f}" x2="{:.1f}" y1="3" y2="11"/></svg>'
    ).format(left, right - left, low, high, low, low, high, high)


@dataclass(frozen=True)
class _Named:
    """Figures with their names in the language of the page."""

    lang: Lang

    def __call__(self, figures: Iterable[Figure]) -> list[tuple[str, Figure]]:
        return [(self.one(figure.name), figure) for figure in figures]

    def one(self, name: str) -> str:
        """The words for a figure."""
        return figure_name(name, self.lang)


def _tiles(x: TaskExamination, named: _Named, lang: Lang) -> list[tuple[str, str]]:
    wrong = in_language(Text("records with a wrong prediction", "条记录预测有误"), lang)
    speed = in_language(Text("records a second", "条记录每秒"), lang)
    tiles = [
        (f"{named.one(one.name)} ({span(one.low, one.high)})", written(one.value)) for one in x.figures[:2]
    ]
    return [*tiles, (wrong, f"{x.wrong:,} / {x.n:,}"), (speed, f"{x.rows_per_second:,.0f}")]


def _baselines(x: TaskExamination, lang: Lang) -> list[tuple[str, Figure]]:
    """The main figure of this model and of the simple ones that have it."""
    this = in_language(Text("this model", "本模型"), lang)
    rows = [(one.name, figure) for one in x.baselines for figure in one.figures if figure.name == x.main.name]
    return [(this, x.main), *rows] if rows else []


_RELIABILITY = (
    Text("share of right ones", "正确率"),
    Text("equal to confidence", "与置信度相等"),
)


def _reliability(x: TaskExamination, lang: Lang) -> Chart | None:
    if len(x.reliability) < 2:
        return None
    points = [(one.confidence, one.accuracy) for one in x.reliability]
    names = [in_language(text, lang) for text in _RELIABILITY]
    lowest = min(x for x, _ in points)
    series = [Series(names[0], points), Series(names[1], [(lowest, lowest), (1.0, 1.0)])]
    return line_chart(series, in_language(Text("confidence", "置信度"), lang), names[0])


def _slices(x: TaskExamination, lang: Lang) -> list[tuple[Text, list[tuple[str, Figure]]]]:
    return [
        (_GROUPS.get(by, Text(by, by)), [(one.name, one.figure) for one in group])
        for by, group in groupby(x.slices, lambda one: one.by)
    ]


def _curves(rows: Sequence[Mapping[str, Any]], lang: Lang) -> list[tuple[str, Chart, list[str]]]:
    """Losses together, then whatever else validation measured."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    others = [name for name in names if name.startswith("valid_") and name != "valid_loss"]
    losses: list[str] = [name for name in ("loss", "valid_loss") if name in names]
    drawn = list[tuple[str, Chart, list[str]]]()
    panels = [losses, *([name] for name in others)]
    for panel in filter(None, panels):
        titles = [_curve_name(name, lang) for name in panel]
        series = [
            Series(title, [(row["step"], float(row[name])) for row in rows if row.get(name) is not None])
            for title, name in zip(titles, panel, strict=True)
        ]
        chart = line_chart(series, in_language(Text("step", "步"), lang), titles[0])
        if chart is not None and max(len(one.points) for one in series) > 1:
            drawn.append((titles[0], chart, titles))
    return drawn


def _curve_name(name: str, lang: Lang) -> str:
    plain_name = name.removeprefix("valid_")
    words = measure_label(plain_name, lang)
    if words == plain_name:
        words = figure_name(plain_name, lang)
    validation = {"loss": Text("training", "训练")}.get(name, Text("validation", "验证"))
    return f"{words} ({in_language(validation, lang)})"


def _wrong_help(x: TaskExamination) -> Text:
    shown = min(len(x.worst), MOST_WRONG)
    return Text(
        f"{x.wrong:,} predictions are not the answer; the {shown} furthest from it. All are in predictions.jsonl. "
        "Some may be right and the answer wrong: look.",
        f"有 {x.wrong:,} 条预测与答案不符，这里列出相差最远的 {shown} 条，全部见 predictions.jsonl。"
        "其中也可能是答案标错了：请看一看。",
    )


def cut(text: str, lang: Lang) -> str:
    """The beginning of a long text, and how much is left out."""
    if len(text) <= MOST_CHARACTERS:
        return text
    more = len(text) - MOST_CHARACTERS
    return text[:MOST_CHARACTERS] + in_language(Text(f" … ({more:,} more)", f"……（另有 {more:,} 字）"), lang)


def _setting(value: Any, lang: Lang) -> str:
    """A setting in a cell; lists and mappings as JSON has them."""
    many = isinstance(value, list | tuple | dict)
    return plain(str(value) if many and value else value or None if many else value, lang)

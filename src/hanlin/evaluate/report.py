"""One self-contained HTML page for a whole run: nothing is loaded, no script is needed, every text is escaped."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hanlin.base.files import write_text
from hanlin.base.language import Text
from hanlin.evaluate import sentences
from hanlin.evaluate.chart import Bar, Chart, Series, bar_chart, line_chart
from hanlin.evaluate.labels import Lang, label, measure_label, model_label
from hanlin.evaluate.results import Examination, ObjectiveExamination, Sample

Row = Mapping[str, float | int | str | None]


@dataclass(frozen=True)
class Stage:
    """A folder that the run made or used: its kind, fingerprint, and the fingerprints of what it was made from."""

    name: str
    folder: str
    kind: str
    fingerprint: str
    inputs: Mapping[str, str]


@dataclass(frozen=True)
class RunReport:
    """All that the page tells. What is None or empty is left out of it.

    `curves` are the rows of `metrics.jsonl`; `corpus` and `tokenizer` the `report.json` of those folders.
    """

    title: str
    machine: str = ""
    configuration: Mapping[str, Any] | None = None
    lineage: Sequence[Stage] = ()
    curves: Sequence[Row] | None = None
    corpus: Mapping[str, Any] | None = None
    tokenizer: Mapping[str, Any] | None = None
    samples: Sequence[Sample] = ()
    examination: Examination | None = None
    objectives: ObjectiveExamination | None = None
    plan: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Panel:
    """One chart of training: the metrics it draws over the steps, and whether on a logarithmic axis."""

    name: str
    metrics: tuple[str, ...]
    log: bool = False


PANELS = (
    Panel("loss", ("loss", "valid_loss")),
    Panel("gradient_norm", ("gradient_norm",), log=True),
    Panel("learning_rate", ("learning_rate",)),
    Panel("rate_share", ("rate_share",)),
    Panel("tokens_per_second", ("tokens_per_second",)),
    Panel("peak_share", ("peak_share",)),
)


def write_report(path: Path, report: RunReport, lang: Lang = "en") -> None:
    """Write the page in English or Chinese, whole or not at all."""
    write_text(path, render_report(report, lang))


def render_report(report: RunReport, lang: Lang = "en") -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("hanlin.evaluate", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def say(words: str | Text) -> str:
        if isinstance(words, str):
            return label(words, lang)
        return words.zh if lang == "zh" else words.en

    environment.globals.update(say=say, lang=lang, sentences=sentences, Text=Text)
    environment.filters["plain"] = lambda value: plain(value, lang)
    environment.filters["model_label"] = lambda name: model_label(name, lang)
    environment.filters["measure_label"] = lambda name: measure_label(name, lang)
    return environment.get_template("report.html.jinja").render(
        report=report,
        panels=_panels(report.curves or (), say),
        bars=_bars(report.examination, lang),
        tiles=_tiles(report, lang),
    )


def plain(value: object, lang: Lang) -> str:
    """A single value as people write it: 12,345 · 0.1235 · yes · none."""
    if value is None or value == "":
        return label("none", lang)
    if isinstance(value, bool):
        return label("yes" if value else "no", lang)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return str(value)


@dataclass(frozen=True)
class DrawnPanel:
    """A panel with its chart, and the names of its lines where there are several."""

    name: str
    chart: Chart
    lines: tuple[str, ...]


def _panels(rows: Sequence[Row], say: Any) -> list[DrawnPanel]:
    drawn: list[DrawnPanel] = []
    for panel in PANELS:
        series = [
            Series(
                say(metric), [(_number(row["step"]), _number(row[metric])) for row in rows if metric in row]
            )
            for metric in panel.metrics
            if any(metric in row for row in rows)
        ]
        chart = line_chart(series, say("step"), say(panel.name), panel.log)
        if chart is not None:
            drawn.append(DrawnPanel(panel.name, chart, tuple(one.name for one in series if len(series) > 1)))
    return drawn


def _bars(examination: Examination | None, lang: Lang) -> Markup | None:
    if examination is None:
        return None
    bars = []
    for name, figures in examination.models.items():
        interval = figures.bits_per_byte_interval
        ends = (interval.low, interval.high) if interval else (None, None)
        bars.append(Bar(model_label(name, lang), figures.bits_per_byte, *ends))
    return bar_chart(bars, label("bits_per_byte", lang))


def _tiles(report: RunReport, lang: Lang) -> list[tuple[str, str]]:
    """The figures at the head of the page."""
    tiles: list[tuple[str, str]] = []
    if report.examination is not None:
        for name, figures in list(report.examination.models.items())[:2]:
            words = f"{label('bits_per_byte', lang)} · {model_label(name, lang)}"
            tiles.append((words, f"{figures.bits_per_byte:.3f}"))
        first = next(iter(report.examination.models.values()))
        tiles.append((label("perplexity", lang), f"{first.perplexity:,.1f}"))
    if report.objectives is not None:
        for name, objective in report.objectives.objectives.items():
            measure, figure = next(iter(objective.figures.items()))
            words = measure_label(measure, lang)
            tiles.append((words if name == measure else f"{words} · {name}", f"{figure.value:,.3f}"))
    if report.curves:
        tiles.append((label("steps", lang), f"{int(_number(report.curves[-1]['step'])):,}"))
    return tiles


def _number(value: float | int | str | None) -> float:
    """A metric as a number; what is none (null, "nan") becomes NaN, which charts show as a gap."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan

"""A sweep for people: a table for the terminal, and one self-contained page with its plots."""

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from markupsafe import Markup
from pydantic import JsonValue
from rich.table import Table

from hanlin.base.language import Text
from hanlin.evaluate.chart import Bar, Chart, Series, bar_chart, line_chart
from hanlin.evaluate.labels import Lang
from hanlin.evaluate.page import Page, Plot, in_language, write_page
from hanlin.evaluate.scaling_page import law_plot
from hanlin.evaluate.sweep_results import Sweep, Trial, describe

_MOST_BARS = 24
_MOST_CURVES = 7
"""As many as there are colours."""
_WIDE = 20
"""Where the greatest value is so many times the least, a parameter is drawn on a logarithmic axis."""

_STATES = {
    "finished": Text("", ""),
    "pruned": Text("given up", "提前终止"),
    "failed": Text("failed", "失败"),
}


@dataclass(frozen=True)
class Column:
    """A column of the table: what it is called, and what it says of a trial."""

    title: Text
    say: Callable[[Trial], str]


def _value(trial: Trial) -> str:
    if not trial.values:
        return ""
    return f"{trial.value:.4f}" + (f" ± {trial.spread:.4f}" if trial.spread is not None else "")


def _figure(name: str, trial: Trial) -> str:
    return f"{trial.figures[name]:.4g}" if name in trial.figures else ""


def _remark(trial: Trial) -> str:
    parts = [str(Text("held out", "留出"))] if trial.held_out else []
    parts += [part for part in (str(_STATES[trial.state]), trial.reason) if part]
    return ": ".join(parts)


def columns(sweep: Sweep) -> list[Column]:
    """What the table says, from left to right; a column for each other figure that all finished trials have."""
    names = [set(trial.figures) for trial in sweep.finished]
    shared = set[str].intersection(*names) - {sweep.metric} if names else set[str]()
    others = [Column(Text(name, name), partial(_figure, name)) for name in sorted(shared)]
    return [
        Column(Text("trial", "试验"), lambda trial: str(trial.number)),
        Column(Text("setting", "设置"), lambda trial: describe(trial.setting)),
        Column(Text(sweep.metric, sweep.metric), _value),
        *others,
        Column(Text("tokens/s", "词元/秒"), lambda t: f"{t.tokens_per_second:,.0f}" if t.tokens_per_second else ""),
        Column(Text("parameters", "参数量"), lambda t: f"{t.parameters:,}" if t.parameters else ""),
        Column(Text("seconds", "用时（秒）"), lambda t: f"{t.seconds:.1f}" if t.seconds else ""),
        Column(Text("remark", "备注"), _remark),
    ]  # fmt: skip


def sweep_table(sweep: Sweep) -> Table:
    """The table for a terminal, the best trial first."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    shown = columns(sweep)
    for column in shown:
        words = column.say in (_remark,) or column.title.en == "setting"
        table.add_column(
            str(column.title), justify="left" if words else "right", no_wrap=column.say is not _remark
        )
    for trial in sweep.ranked:
        table.add_row(*(column.say(trial) for column in shown))
    return table


def legend(sweep: Sweep) -> list[Text]:
    """What the table means, and what follows from it, a sentence each."""
    lower, searched = sweep.better == "lower", sum(not trial.held_out for trial in sweep.trials)
    said = [
        Text(
            f"{len(sweep.finished)} of {searched} trials finished; {sweep.metric}: "
            f"{'lower' if lower else 'higher'} is better. Its value is that of the model that a trial keeps. "
            "Seconds are those of training alone, added over repeats.",
            f"{searched} 个试验完成了 {len(sweep.finished)} 个；{sweep.metric} 越{'低' if lower else '高'}越好，"
            "取各试验所保留模型的值。用时仅计训练，各次重复相加。",
        )
    ]
    if sweep.repeats > 1:
        said.append(
            Text(
                f"Each value is the mean of {sweep.repeats} seeds ± their standard deviation.",
                f"各值为 {sweep.repeats} 个随机种子的均值 ± 标准差。",
            )
        )
    if sweep.importance:
        shares = [f"{name} {share:.0%}" for name, share in sweep.importance.items()]
        said.append(
            Text(
                f"What decides whether a trial is among the best (PED-ANOVA, arXiv 2304.10255): {', '.join(shares)}.",
                f"各参数对试验优劣的影响（PED-ANOVA，arXiv 2304.10255）：{'、'.join(shares)}。",
            )
        )
    if sweep.no_law:
        said.append(Text(sweep.no_law, sweep.no_law))
    return said


def write_sweep_page(path: Path, sweep: Sweep, title: str, machine: str, lang: Lang = "en") -> None:
    """Write the page in English or Chinese, whole or not at all."""
    shown = columns(sweep)
    page = Page(
        kind=Text("sweep of settings", "设置搜索"),
        title=title,
        machine=machine,
        heading=Text("Trials", "试验"),
        columns=[column.title for column in shown],
        rows=[[column.say(trial) for column in shown] for trial in sweep.ranked],
        sentences=legend(sweep),
        plots=_plots(sweep, lang),
        bars=_bars(sweep),
    )
    write_page(path, page, lang)


def _bars(sweep: Sweep) -> Markup | None:
    """The metric of the best trials, with the spread over seeds."""
    bars = []
    for trial in sweep.finished[:_MOST_BARS]:
        spread = trial.spread
        ends = (trial.value - spread, trial.value + spread) if spread is not None else (None, None)
        bars.append(Bar(describe(trial.setting) or str(trial.number), trial.value, *ends))
    return bar_chart(bars, sweep.metric, alike=True)


def _plots(sweep: Sweep, lang: Lang) -> list[Plot]:
    plots = [law_plot(law, lang) for law in sweep.laws]
    names = list(dict.fromkeys(name for trial in sweep.finished for name in trial.setting))
    plots += [_parameter_plot(sweep, name, lang) for name in names]
    plots += [_history_plot(sweep, lang), _curves_plot(sweep, lang)]
    return [plot for plot in plots if plot is not None]


def _parameter_plot(sweep: Sweep, name: str, lang: Lang) -> Plot | None:
    """The metric over a parameter: each trial a point, or for values that are no numbers a bar with their range."""
    tried = [(trial.setting[name], trial.value) for trial in sweep.finished]
    values = [value for value, _ in tried if isinstance(value, int | float) and not isinstance(value, bool)]
    title = Text(f"{sweep.metric} over {name}", f"{sweep.metric} 与 {name}")
    if len(values) < len(tried):
        return _value_bars(sweep, name, tried, title)
    log = min(values) > 0 and max(values) / min(values) >= _WIDE
    points = [
        (math.log10(x) if log else float(x), value) for x, (_, value) in zip(values, tried, strict=True)
    ]
    x = Text(f"power of ten of {name}", f"{name} 的十进对数") if log else Text(name, name)
    chart = line_chart([Series(sweep.metric, points, joined=False)], in_language(x, lang), sweep.metric)
    help_ = Text("Each point is a finished trial.", "每个点是一个已完成的试验。")
    return Plot(title, help_, chart, ((0, sweep.metric),)) if chart is not None else None


def _value_bars(sweep: Sweep, name: str, tried: list[tuple[JsonValue, float]], title: Text) -> Plot | None:
    groups = defaultdict[str, list[float]](list)
    for value, result in tried:
        groups[describe({name: value})].append(result)
    bars = [Bar(one, sum(r) / len(r), *((min(r), max(r)) if len(r) > 1 else ())) for one, r in groups.items()]
    drawn = bar_chart(bars, sweep.metric, alike=True)
    if drawn is None:
        return None
    help_ = Text(
        "The mean over the other parameters; whiskers from the best to the worst trial.",
        "对其他参数取平均；须线为最好与最差的试验。",
    )
    return Plot(title, help_, Chart(drawn, len(bars), len(bars), 0), ())


def _history_plot(sweep: Sweep, lang: Lang) -> Plot | None:
    points = sorted((trial.number, trial.value) for trial in sweep.finished)
    choose = max if sweep.better == "higher" else min
    best = [
        (number, choose(value for _, value in points[: index + 1]))
        for index, (number, _) in enumerate(points)
    ]
    series = [
        Series(in_language(Text("trial", "试验"), lang), points, joined=False),
        Series(in_language(Text("best so far", "迄今最佳"), lang), best),
    ]
    chart = line_chart(series, in_language(Text("trial", "试验"), lang), sweep.metric)
    if chart is None or len(points) < 2:
        return None
    help_ = Text("Trials in the order in which they began.", "试验按开始的先后排列。")
    return Plot(Text("History", "过程"), help_, chart, tuple((n, one.name) for n, one in enumerate(series)))


def _curves_plot(sweep: Sweep, lang: Lang) -> Plot | None:
    shown = [trial for trial in sweep.ranked if len(trial.curve) > 1][:_MOST_CURVES]
    series = [Series(describe(trial.setting) or str(trial.number), trial.curve) for trial in shown]
    chart = line_chart(series, in_language(Text("step", "步"), lang), sweep.metric)
    if chart is None:
        return None
    help_ = Text(
        f"At each validation, of the first seed; of at most {_MOST_CURVES} trials.",
        f"每次验证的值（首个种子）；至多 {_MOST_CURVES} 个试验。",
    )
    return Plot(
        Text("Validation", "验证"), help_, chart, tuple((n, one.name) for n, one in enumerate(series))
    )

"""A training run for people: in a few lines, and as one page with its curves."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hanlin.base.language import Text
from hanlin.evaluate.chart import Series, line_chart
from hanlin.evaluate.labels import Lang
from hanlin.evaluate.page import Page, Plot, in_language, write_page
from hanlin.trainer.gradients import PREFIX

_MOST_LINES = 7
"""As many as there are colours."""

Rows = Sequence[Mapping[str, Any]]

_LABELS = {
    "ending": Text("ended", "结束方式"),
    "steps": Text("steps", "步数"),
    "tokens": Text("tokens learned from", "已学习的词元"),
    "best_step": Text("best step", "最佳步"),
    "skipped_steps": Text("steps skipped", "跳过的步数"),
    "spikes": Text("loss spikes", "损失尖峰"),
    "gap": Text("train and validation", "训练与验证"),
    "gradients": Text("gradients", "梯度"),
    "batch": Text("a step learns from", "每步所学"),
    "objective": Text("objective", "目标"),
}


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """What the report of a run says, for a terminal."""
    return [f"{label!s:<24} {value}" for label, value in _labelled(report)]


def write_pretrain_page(
    path: Path, rows: Rows, report: Mapping[str, Any], title: str, machine: str, lang: Lang = "en"
) -> None:
    """Write the page of a run from the lines of its `metrics.jsonl`, whole or not at all."""
    page = Page(
        kind=Text("pre-training", "预训练"),
        title=title,
        machine=machine,
        heading=Text("The run", "训练"),
        columns=(Text("", ""), Text("", "")),
        rows=[[in_language(label, lang), value] for label, value in _labelled(report)],
        sentences=(),
        plots=[plot for plot in _plots(rows, lang) if plot is not None],
    )
    write_page(path, page, lang)


def _labelled(report: Mapping[str, Any]) -> list[tuple[Text, str]]:
    return [(_LABELS.get(name, Text(name, name)), _plain(value)) for name, value in report.items()]


def _plots(rows: Rows, lang: Lang) -> list[Plot | None]:
    names = [name for row in rows for name in row]
    losses = [name for name in dict.fromkeys(names) if name in ("loss", "valid_loss")]
    accuracies = [name for name in dict.fromkeys(names) if name.startswith("valid_") and "accuracy" in name]
    norms = _chosen([name for name in dict.fromkeys(names) if name.startswith(PREFIX)])
    return [
        _plot(rows, losses, Text("Loss", "损失"), Text("Nats a prediction.", "每次预测的奈特数。"), lang),
        _plot(rows, accuracies[:_MOST_LINES], Text("Accuracy", "正确率"), Text("On the validation split.", "在验证集上。"), lang),
        _plot(rows, ["rate_share"], Text("Learning rate", "学习率"), Text("As a share of its peak.", "占峰值的比例。"), lang),
        _plot(rows, ["gradient_norm"], Text("Gradient", "梯度"),
              Text("The greatest norm of the whole gradient since the line before, before clipping.",
                   "自上一行以来整个梯度的最大范数（裁剪前）。"), lang, log=True),
        _plot(rows, norms, Text("Gradient by layer", "各层梯度"),
              Text("Norms far apart mean vanishing or exploding gradients.", "各层范数相差悬殊即为梯度消失或爆炸。"), lang, log=True),
        _plot(rows, ["tokens_per_second"], Text("Speed", "速度"), Text("Tokens a second.", "每秒词元数。"), lang),
    ]  # fmt: skip


def _plot(
    rows: Rows, names: Sequence[str], title: Text, help_: Text, lang: Lang, log: bool = False
) -> Plot | None:
    """One plot of some metrics over the steps; None where nothing was logged."""
    series = [
        Series(name.removeprefix(PREFIX), [(row["step"], float(row[name])) for row in rows if name in row])
        for name in names
    ]
    series = [one for one in series if one.points]
    chart = line_chart(series, in_language(Text("step", "步"), lang), in_language(title, lang), log)
    if chart is None:
        return None
    return Plot(title, help_, chart, tuple((number, one.name) for number, one in enumerate(series)))


def _chosen(names: list[str]) -> list[str]:
    """All, or as many as there are colours, evenly from the first to the last."""
    if len(names) <= _MOST_LINES:
        return names
    return [names[round(index * (len(names) - 1) / (_MOST_LINES - 1))] for index in range(_MOST_LINES)]


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    return f"{value:,}" if isinstance(value, int) else str(value)

"""A study of prompts for people: a page with the curve of shots, and what order and template change."""

from pathlib import Path

from hanlin.base.language import Text
from hanlin.evaluate.chart import Series, line_chart
from hanlin.evaluate.figure_names import figure_name, span, written
from hanlin.evaluate.labels import Lang
from hanlin.evaluate.page import Page, Plot, in_language, write_page
from hanlin.tasks.shots import PromptStudy, Question, Tried

COLUMNS = (
    Text("prompt", "提示"),
    Text("shots", "示例数"),
    Text("draw", "抽取"),
    Text("order", "顺序"),
    Text("value", "数值"),
    Text("95 % interval", "95 % 区间"),
)
_OF: dict[Question, Text] = {
    "shots": Text("number of shots", "示例数"),
    "order": Text("order of shots", "示例顺序"),
    "template": Text("template", "模板"),
}


def study_lines(study: PromptStudy) -> list[str]:
    """Means and spreads, one a line."""
    lines = []
    for shots, found in study.curve().items():
        spread = "" if found.deviation is None else f" ± {found.deviation:.3f}"
        lines.append(
            str(Text(f"{shots} shots: {found.mean:.3f}{spread} ({found.n} draws)",
                     f"{shots} 个示例：{found.mean:.3f}{spread}（{found.n} 次抽取）"))
        )  # fmt: skip
    return lines + [str(one) for one in _spreads(study)]


def write_study_page(path: Path, study: PromptStudy, machine: str = "", lang: Lang = "en") -> None:
    """Write the page in English or Chinese, whole or not at all."""
    name = figure_name(study.tried[0].figure.name, lang)
    page = Page(
        kind=Text("study of prompts", "提示研究"),
        title=f"{study.model}: {study.kind}",
        machine=machine,
        heading=Text(f"{name} on {study.n:,} records", f"{study.n:,} 条记录上的{name}"),
        columns=COLUMNS,
        rows=[_row(one, lang) for one in study.tried],
        sentences=_spreads(study),
        plots=_plots(study, lang),
    )
    write_page(path, page, lang)


def _spreads(study: PromptStudy) -> list[Text]:
    found: list[Text] = []
    for question, en, zh in (
        ("order", "orders of the same shots", "同样示例的顺序"),
        ("template", "templates", "模板"),
    ):
        spread = study.spread(question)  # type: ignore[arg-type]
        if spread is not None and spread.deviation is not None:
            values = [one.figure.value for one in study.of(question)]  # type: ignore[arg-type]
            low, high = min(values), max(values)
            found.append(
                Text(f"{spread.n} {en}: {spread.mean:.3f} ± {spread.deviation:.3f}, {low:.3f} to {high:.3f}.",
                     f"{spread.n} 种{zh}：{spread.mean:.3f} ± {spread.deviation:.3f}，{low:.3f} 至 {high:.3f}。")
            )  # fmt: skip
    return found


def _row(one: Tried, lang: Lang) -> list[str]:
    what = one.template if one.template is not None else in_language(_OF[one.of], lang)
    figure = one.figure
    interval = span(figure.low, figure.high)
    return [what, str(one.shots), str(one.seed), str(one.order), written(figure.value), interval]


def _plots(study: PromptStudy, lang: Lang) -> list[Plot]:
    curve = study.curve()
    if len(curve) < 2:
        return []
    draws = [(float(one.shots), one.figure.value) for one in study.of("shots")]
    means = [(float(shots), found.mean) for shots, found in curve.items()]
    names = [in_language(Text("mean", "平均"), lang), in_language(Text("each draw", "每次抽取"), lang)]
    series = [Series(names[0], means), Series(names[1], draws, joined=False)]
    metric = figure_name(study.tried[0].figure.name, lang)
    chart = line_chart(series, in_language(Text("shots", "示例数"), lang), metric)
    if chart is None:
        return []
    help_ = Text(
        "Training records in the prompt; each dot is another draw of them.",
        "提示中的训练记录数；每个点是另一次抽取。",
    )
    return [Plot(Text("Figure over shots", "指标与示例数"), help_, chart, tuple(enumerate(names)))]

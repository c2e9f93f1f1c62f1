"""Models held against each other on the same records: a table for the terminal, and a page."""

from pathlib import Path

from rich.table import Table

from hanlin.base.language import Text
from hanlin.base.records import Record
from hanlin.evaluate.figure_names import figure_name, span, written
from hanlin.evaluate.figures import Difference, Figure
from hanlin.evaluate.labels import Lang
from hanlin.evaluate.page import in_language, write_template
from hanlin.evaluate.task_page import Header, cut, interval_bar

MOST_SHOWN = 25
"""Records of each kind of disagreement on the page."""


class Disagreement(Record):
    """A record of which two models say different things; gap: how much less wrong the second is."""

    place: str
    inputs: tuple[str, ...]
    answer: str | None
    first: str
    second: str
    gap: float


class Rival(Record):
    """One model. differences: its figures minus those of the first model, none of that itself.

    fixed, broken: records that it alone, or the first model alone, has right. differing: all of which they say different
    things; better, worse: those where it is less wrong or more, the widest gap first.
    """

    name: str
    figures: tuple[Figure, ...]
    differences: tuple[Difference, ...] = ()
    fixed: int = 0
    broken: int = 0
    differing: int = 0
    better: tuple[Disagreement, ...] = ()
    worse: tuple[Disagreement, ...] = ()


class Comparison(Record):
    """The first model, and each other one against it, on the same n records."""

    kind: str
    n: int
    rivals: tuple[Rival, ...]

    @property
    def first(self) -> Rival:
        """What the others are held against."""
        return self.rivals[0]

    @property
    def others(self) -> tuple[Rival, ...]:
        """All but the first."""
        return self.rivals[1:]


def verdict(comparison: Comparison, rival: Rival) -> Text:
    """Which of the two is better by the main figure, and whether that is more than chance."""
    main, first = rival.differences[0], comparison.first.name
    size = f"{written(main.value, True)} ({span(main.low, main.high, True)}, p = {main.p:.3f})"
    if not main.is_certain:
        return Text(f"Whether {rival.name} or {first} is better by {figure_name(main.name, 'en')} cannot be told: {size}.",
                    f"按{figure_name(main.name, 'zh')}无法判断 {rival.name} 与 {first} 孰优：差 {size}。")  # fmt: skip
    better_en, better_zh = ("better", "更好") if main.first_is_better else ("worse", "更差")
    return Text(
        f"{rival.name} is {better_en} than {first} by {figure_name(main.name, 'en')}: {size}.",
        f"按{figure_name(main.name, 'zh')}，{rival.name} 比 {first} {better_zh}：差 {size}。",
    )


def disagreed(rival: Rival) -> Text:
    """How often the two say different things, and who is then right."""
    return Text(
        f"They differ on {rival.differing:,} records; on {rival.fixed:,} only {rival.name} is right, on {rival.broken:,} only the first.",
        f"两者在 {rival.differing:,} 条记录上不同；其中 {rival.fixed:,} 条只有 {rival.name} 正确，{rival.broken:,} 条只有第一个正确。",
    )


def comparison_table(comparison: Comparison, lang: Lang) -> Table:
    """The table for a terminal: every figure of every model, and its distance from the first."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    heads = [Text("figure", "指标"), Text("model", "模型"), Text("value", "数值"), Text("against the first", "与第一个之差"),
             Text("95 % interval", "95 % 区间"), Text("p", "p")]  # fmt: skip
    for number, head in enumerate(heads):
        table.add_column(in_language(head, lang), justify="left" if number < 2 else "right")
    for figure in comparison.first.figures:
        name = figure_name(figure.name, lang)
        table.add_row(name, comparison.first.name, written(figure.value), "", "", "")
        for rival in comparison.others:
            table.add_row("", rival.name, *_against(rival, figure.name))
    return table


def _against(rival: Rival, name: str) -> tuple[str, str, str, str]:
    value = next(one.value for one in rival.figures if one.name == name)
    apart = next(one for one in rival.differences if one.name == name)
    return written(value), written(apart.value, True), span(apart.low, apart.high, True), f"{apart.p:.3f}"


def write_compare_page(path: Path, comparison: Comparison, lang: Lang = "en") -> None:
    """Write the page in English or Chinese, whole or not at all."""
    names = " · ".join(rival.name for rival in comparison.rivals)
    write_template(
        path,
        "compare.html.jinja",
        lang,
        page=Header(Text(f"comparison · {comparison.kind}", f"比较 · {comparison.kind}"), names),
        x=comparison,
        verdict=verdict,
        disagreed=disagreed,
        most=MOST_SHOWN,
        name_of=lambda name: figure_name(name, lang),
        written=written,
        span=span,
        bar=interval_bar,
        cut=lambda text: cut(text, lang),
    )

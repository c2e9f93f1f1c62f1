"""Scaling laws of a sweep: fitted to its trials, in sentences, and drawn."""

import math
from collections.abc import Sequence

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.evaluate.chart import Series, line_chart
from hanlin.evaluate.labels import Lang
from hanlin.evaluate.page import Plot, in_language
from hanlin.evaluate.scaling import Run, ScalingLaw, fit_scaling
from hanlin.evaluate.sweep_results import Law, Trial

_CURVE_POINTS = 60


def laws_of(trials: Sequence[Trial]) -> tuple[Law, ...]:
    """L(N) of the finished trials with the most tokens, and L(N, D) of all where they differ in tokens.

    The trial that is held out is predicted. Raises `DataError` if there are too few for any.
    """
    done = [trial for trial in trials if trial.state == "finished"]
    runs = [_run(trial) for trial in done if not trial.held_out]
    held_out = next((_run(trial) for trial in done if trial.held_out), None)
    lengths = {run.tokens for run in runs}
    longest = [run for run in runs if run.tokens == max(lengths)]
    comparable = held_out if held_out and held_out.tokens in {run.tokens for run in longest} else None
    wanted = [(runs, held_out, True)] * (len(lengths) > 1) + [(longest, comparable, False)]
    laws, problems = list[Law](), list[DataError]()
    for some, predicted, over_tokens in wanted:
        try:
            laws.append(_law(some, predicted, over_tokens))
        except DataError as problem:
            problems.append(problem)
    if not laws:
        raise problems[0]
    return tuple(laws)


def _run(trial: Trial) -> Run:
    return Run(parameters=trial.parameters, tokens=trial.tokens, loss=trial.value)


def _law(runs: Sequence[Run], held_out: Run | None, over_tokens: bool) -> Law:
    law = fit_scaling(runs, over_tokens)
    return Law(
        over_tokens=over_tokens,
        constants=law.constants,
        intervals=law.intervals,
        deviation=law.deviation,
        runs=tuple(runs),
        curves=_curves(law, runs, held_out),
        held_out=held_out,
        prediction=law.predict(held_out.parameters, held_out.tokens) if held_out else None,
    )


def _curves(
    law: ScalingLaw, runs: Sequence[Run], held_out: Run | None
) -> tuple[tuple[float, tuple[tuple[float, float], ...]], ...]:
    """For each number of tokens the law's losses over parameters."""
    sizes = [run.parameters for run in (*runs, *([held_out] if held_out else []))]
    low, high = math.log10(min(sizes)), math.log10(max(sizes))
    grid = [10 ** (low + (high - low) * index / (_CURVE_POINTS - 1)) for index in range(_CURVE_POINTS)]
    lengths = sorted({run.tokens for run in runs}, reverse=True)
    return tuple((length, tuple((size, law.loss(size, length)) for size in grid)) for length in lengths)


def law_sentences(law: Law) -> list[Text]:
    """The equation with its numbers, and how the held-out run came out."""
    values = ", ".join(
        f"{name} = {value:.4g} [{law.intervals[name].low:.3g}, {law.intervals[name].high:.3g}]"
        for name, value in law.constants.items()
    )
    equation = "L(N, D) = E + A / N^a + B / D^b" if law.over_tokens else "L(N) = E + A / N^a"
    said = [
        Text(
            f"{equation} (arXiv 2203.15556, eq. 2), fitted to {len(law.runs)} runs: {values}. Brackets: 95 % intervals, "
            f"bootstrap of residuals. Losses deviate from it by {law.deviation:.2%}.",
            f"{equation}（arXiv 2203.15556，式 2），由 {len(law.runs)} 次训练拟合：{values}。方括号内为 95 % 区间（残差自助法）。"
            f"损失与其相差 {law.deviation:.2%}。",
        )
    ]
    if law.held_out is not None and law.prediction is not None:
        found, ends = law.held_out.loss, law.prediction.interval
        inside = ends.low <= found <= ends.high
        said.append(
            Text(
                f"Held out: {law.held_out.parameters:,.0f} parameters, {law.held_out.tokens:,.0f} tokens. Predicted "
                f"{law.prediction.loss:.4f} [{ends.low:.4f}, {ends.high:.4f}], measured {found:.4f} "
                f"({found / law.prediction.loss - 1:+.2%}): {'inside' if inside else 'outside'} the interval.",
                f"留出：{law.held_out.parameters:,.0f} 个参数、{law.held_out.tokens:,.0f} 个词元。预测 {law.prediction.loss:.4f}"
                f" [{ends.low:.4f}, {ends.high:.4f}]，实测 {found:.4f}（{found / law.prediction.loss - 1:+.2%}）："
                f"在区间之{'内' if inside else '外'}。",
            )
        )
    return said


def law_plot(law: Law, lang: Lang) -> Plot | None:
    """Measured losses and the law's curves over the logarithm of parameters; for L(N, D) a curve for each length."""
    series = [
        Series(_tokens(length, lang), [(math.log10(size), loss) for size, loss in curve])
        for length, curve in law.curves[:3]
    ]
    points = [(math.log10(run.parameters), run.loss) for run in law.runs]
    series.append(Series(in_language(Text("measured", "实测"), lang), points, joined=False))
    if law.held_out is not None:
        held_out = [(math.log10(law.held_out.parameters), law.held_out.loss)]
        series.append(Series(in_language(Text("held out", "留出"), lang), held_out, joined=False))
    x = in_language(Text("power of ten of the number of parameters", "参数量的十进对数"), lang)
    chart = line_chart(series, x, in_language(Text("loss", "损失"), lang))
    if chart is None:
        return None
    title = (
        Text("Scaling law over parameters and tokens", "参数量与词元数的缩放律")
        if law.over_tokens
        else Text("Scaling law over parameters", "参数量的缩放律")
    )
    help_ = law_sentences(law)
    joined = Text(" ".join(text.en for text in help_), "".join(text.zh for text in help_))
    return Plot(title, joined, chart, tuple((number, one.name) for number, one in enumerate(series)))


def _tokens(length: float, lang: Lang) -> str:
    return in_language(Text(f"{length:,.0f} tokens", f"{length:,.0f} 个词元"), lang)

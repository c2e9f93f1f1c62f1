"""The sentences of the report that carry figures."""

from hanlin.base.language import Text
from hanlin.evaluate.chart import Chart
from hanlin.evaluate.results import Difference, Examination, ObjectiveExamination, ObjectiveFigures


def verdict(difference: Difference) -> Text:
    """Does the Transformer beat the n-gram model, and is that more than chance?"""
    size = abs(difference.bits_per_byte)
    better = difference.bits_per_byte < 0
    if difference.interval is None:
        sure = Text("one document cannot say whether by chance", "仅一篇文档，无法判断是否偶然")
    else:
        low, high = difference.interval.low, difference.interval.high
        sure = Text(
            f"95 % interval of the difference {low:+.3f} to {high:+.3f}, "
            + ("more than chance" if difference.certain else "which may be chance"),
            f"差值的 95 % 区间为 {low:+.3f} 至 {high:+.3f}，"
            + ("并非偶然" if difference.certain else "可能出于偶然"),
        )
    return Text(
        f"This model is {size:.3f} bits per byte {'better' if better else 'worse'} than the n-gram model "
        f"({sure.en}).",
        f"本模型每字节比 n 元模型{'少' if better else '多'} {size:.3f} 比特，{'更好' if better else '更差'}（{sure.zh}）。",
    )


def examined(e: Examination) -> Text:
    """What was examined, and what a cap left out."""
    part_en = (
        f"{e.documents:,}"
        if e.documents == e.documents_in_split
        else f"{e.documents:,} (drawn at random) of {e.documents_in_split:,}"
    )
    part_zh = (
        f"{e.documents:,}"
        if e.documents == e.documents_in_split
        else f"（从 {e.documents_in_split:,} 篇中随机抽取的）{e.documents:,}"
    )
    return Text(
        f"Examined on {part_en} documents of the {e.split} split: {e.bytes:,} bytes, {e.characters:,} characters, "
        f"{e.tokens:,} tokens, the end of each document included.",
        f"在 {e.split} 数据集的 {part_zh} 篇文档上评测：{e.bytes:,} 字节，{e.characters:,} 个字符，"
        f"{e.tokens:,} 个词元（含每篇文档的结束词元）。",
    )


def counted(e: Examination) -> Text:
    """What the n-gram model is, and what a cap left out."""
    whole = e.ngram_tokens >= e.ngram_tokens_in_split
    return Text(
        f"The n-gram model ({e.ngram_order}-grams, interpolated modified Kneser-Ney) counted "
        f"{e.ngram_tokens:,}{'' if whole else f' of {e.ngram_tokens_in_split:,}'} tokens of the training split "
        f"in {e.ngram_seconds:.1f} s.",
        f"n 元模型（{e.ngram_order} 元，插值修正 Kneser-Ney 平滑）统计了训练集的 {e.ngram_tokens:,} 个词元"
        f"{'' if whole else f'（共 {e.ngram_tokens_in_split:,} 个）'}，用时 {e.ngram_seconds:.1f} 秒。",
    )


def knows_nothing(e: ObjectiveExamination) -> Text:
    """What the losses are to be held against."""
    return Text(
        f"A model that knows nothing has a loss of {e.uniform_loss:.3f} at each token. Text of the {e.split} split.",
        f"一无所知的模型在每个词元上的损失为 {e.uniform_loss:.3f}。文本取自 {e.split} 数据集。",
    )


def rows_examined(name: str, figures: ObjectiveFigures) -> Text:
    """How much was examined, and what a cap left out."""
    whole = figures.rows == figures.rows_in_split
    return Text(
        f"{name}: {figures.rows:,}{'' if whole else f' of {figures.rows_in_split:,}'} rows.",
        f"{name}：{figures.rows:,} 行{'' if whole else f'（共 {figures.rows_in_split:,} 行）'}。",
    )


def drawn(chart: Chart) -> Text | None:
    """What a chart does not show of its points; None if it shows all."""
    en, zh = [], []
    if chart.missing:
        en.append(f"{chart.missing:,} values are not finite and leave gaps.")
        zh.append(f"有 {chart.missing:,} 个值不是有限数，图中留空。")
    if chart.drawn < chart.points - chart.missing:
        en.append(
            f"{chart.points:,} points are drawn as {chart.drawn:,}: the line is the mean of each stretch, "
            "the band its lowest to highest."
        )
        zh.append(f"共 {chart.points:,} 个点，绘为 {chart.drawn:,} 段：线为每段均值，色带为其最低至最高。")
    return Text(" ".join(en), "".join(zh)) if en else None


def cut(count: int, what: Text) -> Text:
    """How much of a long list or text is left out of the page."""
    return Text(f"… and {count:,} more {what.en}", f"……另有 {count:,} {what.zh}")

"""What figures are called, and how they are written, in both languages."""

from hanlin.base.language import Text
from hanlin.evaluate.labels import Lang

NAMES: dict[str, Text] = {
    "accuracy": Text("accuracy", "准确率"),
    "accuracy_by_sum": Text("accuracy by likelihood", "按总似然的准确率"),
    "accuracy_by_token": Text("accuracy by likelihood a token", "按词元平均似然的准确率"),
    "accuracy_by_character": Text("accuracy by likelihood a character", "按字符平均似然的准确率"),
    "malformed": Text("malformed answers", "格式不合的回答"),
    "macro_f1": Text("F1, mean over classes", "宏平均 F1"),
    "weighted_f1": Text("F1, weighted by class size", "加权 F1"),
    "balanced_accuracy": Text("balanced accuracy", "平衡准确率"),
    "mcc": Text("Matthews correlation", "马修斯相关系数"),
    "f1": Text("F1", "F1"),
    "precision": Text("precision", "精确率"),
    "recall": Text("recall", "召回率"),
    "micro_f1": Text("F1, all labels together", "微平均 F1"),
    "micro_precision": Text("precision, all labels together", "微平均精确率"),
    "micro_recall": Text("recall, all labels together", "微平均召回率"),
    "exact_match": Text("exact match", "完全匹配率"),
    "hamming_loss": Text("Hamming loss", "汉明损失"),
    "ece": Text("expected calibration error", "期望校准误差"),
    "log_loss": Text("log loss", "对数损失"),
    "brier": Text("Brier score", "Brier 分数"),
    "roc_auc": Text("area under ROC", "ROC 曲线下面积"),
    "pr_auc": Text("area under precision and recall", "PR 曲线下面积"),
    "spearman": Text("Spearman correlation", "斯皮尔曼相关系数"),
    "pearson": Text("Pearson correlation", "皮尔逊相关系数"),
    "mse": Text("mean squared error", "均方误差"),
    "rmse": Text("root mean squared error", "均方根误差"),
    "mae": Text("mean absolute error", "平均绝对误差"),
    "concordance": Text("concordance (weighted kappa)", "一致性系数（加权 kappa）"),
    "r2": Text("R²", "R²"),
    "cmrc_f1": Text("F1 as CMRC 2018", "F1（CMRC 2018 口径）"),
    "ndcg@10": Text("nDCG@10", "nDCG@10"),
    "mrr@10": Text("MRR@10", "MRR@10"),
    "map": Text("mean average precision", "平均精度均值"),
    "bleu": Text("BLEU", "BLEU"),
    "chrf": Text("chrF", "chrF"),
    "rouge1": Text("ROUGE-1", "ROUGE-1"),
    "rouge2": Text("ROUGE-2", "ROUGE-2"),
    "rougeL": Text("ROUGE-L", "ROUGE-L"),
    "repetition": Text("repetition", "重复率"),
    "bits_per_byte": Text("bits per byte", "每字节比特数"),
    "bits_per_character": Text("bits per character", "每字符比特数"),
    "perplexity": Text("perplexity of a token", "每词元困惑度"),
    "answerable_f1": Text("F1 where there is an answer", "有答案问题的 F1"),
    "unanswerable_accuracy": Text("accuracy where there is none", "无答案问题的准确率"),
}
"""What is not here is called by its own name."""
OF_KINDS = ("f1", "precision", "recall")
"""Figures that single classes or kinds have too."""


def figure_name(name: str, lang: Lang) -> str:
    """The words for a figure; that of one class or kind is called by it: "F1 · person"."""
    text = NAMES.get(name)
    if text is not None:
        return text.zh if lang == "zh" else text.en
    figure, _, of = name.partition("_")
    return f"{figure_name(figure, lang)} · {of}" if figure in OF_KINDS and of else name.replace("_", " ")


def written(value: float | None, signed: bool = False) -> str:
    """A figure as people write it: 0.913, 28.31, 12,345; nothing for one that is not known."""
    if value is None:
        return "–"
    sign, digits = "+" if signed else "", 3 if abs(value) < 10 else 2
    rounded = round(value, digits) + 0.0  # and no minus before zero
    return f"{rounded:{sign},.0f}" if abs(value) >= 1e4 else f"{rounded:{sign}.{digits}f}"


def span(low: float | None, high: float | None, signed: bool = False) -> str:
    """An interval, from its low to its high end."""
    if low is None or high is None:
        return "–"
    between = " … " if signed else "–"
    return f"{written(low, signed)}{between}{written(high, signed)}"

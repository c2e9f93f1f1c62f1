"""Every word that the report prints, in both languages."""

from typing import Literal

from hanlin.base.language import Text

Lang = Literal["en", "zh"]

LABELS: dict[str, Text] = {
    "report": Text("Hanlin · report of a run", "翰林 · 运行报告"),
    "contents": Text("Contents", "目录"),
    "examination": Text("Examination", "评测"),
    "samples": Text("Samples", "续写样例"),
    "training": Text("Training", "训练"),
    "corpus": Text("Corpus", "语料"),
    "tokenizer": Text("Tokenizer", "分词器"),
    "plan": Text("Plan", "计划"),
    "configuration": Text("Configuration", "配置"),
    "lineage": Text("Lineage", "来历"),
    "machine": Text("Machine", "机器"),
    "bits_per_byte": Text("bits per byte", "每字节比特数"),
    "bits_per_character": Text("bits per character", "每字符比特数"),
    "perplexity": Text("perplexity of a token", "每词元困惑度"),
    "interval": Text("95 % interval", "95 % 区间"),
    "seconds": Text("seconds to score", "评分用时（秒）"),
    "model": Text("model", "模型"),
    "transformer": Text("this model (Transformer)", "本模型（Transformer）"),
    "n-gram": Text("n-gram model (counting only)", "n 元模型（仅靠计数）"),
    "uniform": Text("no model (all tokens alike)", "没有模型（各词元等概率）"),
    "bits_per_byte_help": Text(
        "How many yes-or-no answers the model still needs, on average, to know the next byte of text it has "
        "never seen. Lower is better: 8 means no knowledge at all (a tokenizer alone already saves some of it), "
        "about 2 is what counting reaches, and good large models come below 1.",
        "在从未见过的文本上，模型平均还需要多少个“是或否”的回答才能确定下一个字节。越低越好："
        "8 表示毫无知识（仅分词器本身就已省去一部分），单靠计数大约可到 2，优秀的大模型低于 1。",
    ),
    "perplexity_help": Text(
        "Perplexity: among how many equally likely tokens the model is, in effect, still undecided at each "
        "step. Lower is better; it compares only models with the same tokenizer.",
        "困惑度：每一步模型实际上仍在多少个同样可能的词元之间犹豫。越低越好；只能用来比较使用同一分词器的模型。",
    ),
    "objective": Text("objective", "目标"),
    "measure": Text("measure", "度量"),
    "value": Text("value", "数值"),
    "objective_help": Text(
        "The model on what it was trained to do, on text that it has not seen. Loss is in nats, lower is better. "
        "Pseudo-perplexity hides one token at a time and shows all others; it does not compare with perplexity.",
        "模型在未见过的文本上完成其训练目标的情况。损失以奈特计，越低越好。伪困惑度每次只掩盖一个词元、其余全部可见，"
        "不能与困惑度相比。",
    ),
    "interval_help": Text(
        "The whiskers are 95 % intervals (bootstrap over documents): where the figure would fall on other "
        "documents of the same kind.",
        "细线为 95 % 区间（按文档自助重抽样）：换一批同类文档时数值会落入的范围。",
    ),
    "no_interval": Text(
        "With one document there is no interval: it cannot say how other documents would do.",
        "只有一篇文档，无法给出区间：它说明不了其他文档会怎样。",
    ),
    "samples_help": Text(
        "What the model makes of a beginning. Read for sense and fluency; a small model is fluent long before "
        "it is right.",
        "模型对开头的续写。可看其是否通顺、是否有意义；小模型往往先学会通顺，离正确还远。",
    ),
    "empty_continuation": Text("(ended at once)", "（立即结束）"),
    "loss": Text("loss", "损失"),
    "valid_loss": Text("validation loss", "验证损失"),
    "gradient_norm": Text("gradient norm", "梯度范数"),
    "learning_rate": Text("learning rate", "学习率"),
    "rate_share": Text("share of the peak learning rate", "学习率（占峰值的比例）"),
    "tokens_per_second": Text("tokens per second", "每秒词元数"),
    "peak_share": Text("share of the machine's peak speed", "占机器峰值算力的比例"),
    "step": Text("step", "步"),
    "steps": Text("steps of training", "训练步数"),
    "loss_help": Text(
        "Loss is the surprise at each token (in nats). It should fall fast, then slowly. Validation text is "
        "not trained on: if its line turns up while the other falls, the model learns by heart.",
        "损失是每个词元带来的意外程度（以奈特计），应先快后慢地下降。验证文本不参与训练：若验证曲线上升而训练曲线仍在下降，说明模型在死记硬背。",
    ),
    "gradient_norm_help": Text(
        "How hard the data pulls at the weights. Calm and slowly falling is good; rare spikes are clipped; a "
        "steady rise announces divergence.",
        "数据对权重的拉力。平稳缓降为好；偶有尖峰会被截断；持续上升则预示发散。",
    ),
    "learning_rate_help": Text(
        "The size of each step: it warms up, holds or falls, and ends low.",
        "每一步的步长：先预热，再保持或下降，最后降到很低。",
    ),
    "rate_share_help": Text(
        "The size of each step, as a share of the largest: it warms up, holds or falls, and ends low.",
        "每一步的步长（占最大步长的比例）：先预热，再保持或下降，最后降到很低。",
    ),
    "tokens_per_second_help": Text(
        "Speed of training. A level line is good; dips mean that the machine did something else.",
        "训练速度。平直为好；下陷说明机器当时另有负担。",
    ),
    "peak_share_help": Text(
        "How much of the fastest matrix product measured on this machine training reaches. Higher is better; "
        "small models reach less.",
        "训练达到本机实测最快矩阵乘法速度的多少。越高越好；小模型会低一些。",
    ),
    "no_training": Text("No step of training was recorded.", "没有训练记录。"),
    "corpus_help": Text(
        "What was read, what was dropped and why, what was changed. A step that drops much deserves a look at "
        "its samples.",
        "读入了什么，丢弃了什么及其原因，改动了什么。丢弃较多的步骤值得看一看样例。",
    ),
    "tokenizer_help": Text(
        "How text is cut into tokens. Fewer tokens per character means that more text fits the window; round "
        "trip failures must be zero.",
        "文本如何切成词元。每字符词元数越少，窗口能容纳的文本越多；往返失败数必须为零。",
    ),
    "plan_help": Text(
        "What was foreseen before training, to hold against what came.", "训练前的预计，可与实际对照。"
    ),
    "configuration_help": Text(
        "Every setting that was used, defaults included.", "所用的全部设置，包括默认值。"
    ),
    "lineage_help": Text(
        "Which folder was made from which. Equal fingerprints mean equal contents.",
        "各目录由何而来。指纹相同即内容相同。",
    ),
    "steps_of_corpus": Text("Steps", "各步骤"),
    "step_of_corpus": Text("step", "步骤"),
    "documents_in": Text("documents in", "读入文档"),
    "documents_out": Text("documents out", "留下文档"),
    "documents_changed": Text("changed", "改动文档"),
    "characters_in": Text("characters in", "读入字符"),
    "characters_out": Text("characters out", "留下字符"),
    "reason": Text("reason", "原因"),
    "excerpts": Text("excerpts", "摘录"),
    "documents": Text("documents", "文档"),
    "characters": Text("characters", "字符"),
    "stage": Text("stage", "阶段"),
    "kind": Text("kind", "类型"),
    "folder": Text("folder", "目录"),
    "fingerprint": Text("fingerprint", "指纹"),
    "inputs": Text("made from", "输入"),
    "none": Text("none", "无"),
    "yes": Text("yes", "是"),
    "no": Text("no", "否"),
}
"""Names, and one sentence under each figure (`..._help`)."""

MEASURES: dict[str, Text] = {
    "loss": Text("loss", "损失"),
    "accuracy": Text("accuracy", "准确率"),
    "token_loss": Text("loss at hidden tokens", "被掩盖词元的损失"),
    "token_accuracy": Text("accuracy at hidden tokens", "被掩盖词元的准确率"),
    "pair_loss": Text("loss of pairs (chance: 0.693)", "句对的损失（随机为 0.693）"),
    "pair_accuracy": Text("accuracy of pairs (chance: 0.5)", "句对的准确率（随机为 0.5）"),
    "pseudo_perplexity": Text("pseudo-perplexity", "伪困惑度"),
}
"""What objectives measure."""


def label(name: str, lang: Lang) -> str:
    """The words for `name` in `lang`."""
    text = LABELS[name]
    return text.zh if lang == "zh" else text.en


def model_label(name: str, lang: Lang) -> str:
    """The words for a model of an examination; a model that has none is called by its name."""
    return label(name, lang) if name in LABELS else name


def measure_label(name: str, lang: Lang) -> str:
    """The words for what an objective measures; what has none is called by its name."""
    text = MEASURES.get(name)
    return name if text is None else text.zh if lang == "zh" else text.en

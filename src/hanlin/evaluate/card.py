"""The model card of what was fine-tuned: `README.md` in its folder, of facts that its files and its examination hold."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hanlin.base.files import write_text
from hanlin.base.language import Text
from hanlin.base.manifest import Manifest, read_manifest
from hanlin.evaluate.figure_names import figure_name, span, written
from hanlin.evaluate.figures import Figure
from hanlin.evaluate.task_page import counted
from hanlin.evaluate.task_results import SliceFigure, TaskExamination

NAME = "README.md"
FEW = 30
"""A weakness that fewer records show is not told."""

USES: dict[str, tuple[Text, str]] = {
    "classify": (Text("tells which class a text belongs to", "判断文本所属的类别"), 'classify("...")'),
    "pair": (Text("tells how two texts stand to each other", "判断两段文本的关系"), 'classify(("...", "..."))'),
    "regress": (Text("gives a text, or two, a number", "为文本（或两段文本）打分"), 'score(("...", "..."))'),
    "tag": (Text("gives each word of a text a tag", "为文本中的每个词标注"), 'tag("...")'),
    "extract": (Text("finds spans, and relations between them, in a text", "从文本中抽取片段及其关系"), 'extract("...")'),
    "extract-json": (Text("writes the spans and relations of a text as JSON", "以 JSON 写出文本中的片段及其关系"), 'extract("...")'),
    "relate": (Text("finds the relations between spans of a text that are given", "判断文本中已给片段之间的关系"), 'relate("...", [...])'),
    "answer": (Text("finds the answer to a question in a context", "在上下文中找出问题的答案"), 'answer("...", context="...")'),
    "reply": (Text("writes the answer to a question", "写出问题的答案"), 'answer("...")'),
    "choice": (Text("chooses one of several answers to a question", "从若干选项中选出答案"), 'choose("...", ["...", "..."])'),
    "translate": (Text("translates texts", "翻译文本"), 'translate("...")'),
    "summarize": (Text("writes summaries", "写摘要"), 'summarize("...")'),
    "rewrite": (Text("writes texts anew", "改写文本"), 'rewrite("...")'),
    "chat": (Text("answers in a conversation", "在对话中作答"), 'chat([{"role": "user", "content": "..."}])'),
    "match": (Text("turns texts into vectors whose likeness says how well they belong together", "把文本变为向量，以其相近程度判断是否相配"), 'rank("...", ["...", "..."])'),
    "rerank": (Text("says how well a text answers a query", "判断文本与查询的相配程度"), 'rank("...", ["...", "..."])'),
}  # fmt: skip
"""Of each kind of task, what it does, and how `hanlin.load_task(...)` is asked for it."""

SCRIPTS = {
    "spaced": Text("words with spaces between them (English and the like)", "以空格分词的文字（如英文）"),
    "han": Text("Chinese characters", "汉字"),
    "unspaced": Text("other scripts without spaces", "其他不以空格分词的文字"),
}

_PARTS = {
    "length": Text("the length in characters", "字符数"),
    "script": Text("the script", "文字"),
    "answer": Text("the answer", "答案"),
}


def write_card(folder: Path, examination: TaskExamination) -> None:
    """Write the card into a folder with `hanlin.json` and `task.json`, in English with a summary in Chinese.

    Raises `CheckpointError` if the manifest is missing or damaged.
    """
    task = json.loads((folder / "task.json").read_text("utf-8"))
    card = model_card(_title(folder), examination, read_manifest(folder), task.get("base"))
    write_text(folder / NAME, card)


def model_card(title: str, x: TaskExamination, manifest: Manifest, base: str | None = None) -> str:
    """The card as Markdown. base: the model that is needed beside the folder, if one is."""
    use, call = USES.get(x.kind, (Text(f"does the task {x.kind}", f"完成任务 {x.kind}"), "predict([...])"))
    parts = [
        f"---\nlibrary_name: hanlin\ntags:\n- hanlin\n- {x.kind}\n---",
        f"# {title}",
        f"This model {use.en}. It was made from {x.model} by the method {x.method}, with Hanlin.",
        "## Use",
        f"```\nhanlin predict {title} FILE\n```",
        f'```python\nimport hanlin\n\nhanlin.load_task("{title}").{call}\n```',
        *([f"It stands on its base, which has to be at hand: {base}"] if base else []),
        *_labels(x),
        "## Figures",
        counted(x).en,
        _figures(x.figures),
        *_beside(x),
        "## Limits",
        _list([one.en for one in limits(x)]),
        "## Data",
        *_data(x),
        "## Lineage and settings",
        _list(_lineage(manifest)),
        _details("Settings of the task", x.task),
        *([_details("Training", manifest.report)] if manifest.report else []),
        "## 中文摘要",
        f"本模型用于：{use.zh}。由 {x.model} 以方法 {x.method} 经 Hanlin 得到。",
        _list(_chinese(x)),
    ]
    return "\n\n".join(parts) + "\n"


def limits(x: TaskExamination) -> list[Text]:
    """What the examination says of where the model is weak, or of what it does not say."""
    shortest, median, longest = x.lengths
    scripts_en = ", ".join(f"{count:,} in {SCRIPTS[name].en}" for name, count in x.scripts.items())
    scripts_zh = "，".join(f"{SCRIPTS[name].zh} {count:,} 条" for name, count in x.scripts.items())
    found = [
        Text(f"Examined records: {scripts_en}; {shortest:,} to {longest:,} characters, median {median:,}. Of other texts nothing is known.",
             f"评测记录：{scripts_zh}；{shortest:,} 至 {longest:,} 个字符，中位数 {median:,}。对其他文本的表现未知。"),
        Text(f"{x.wrong:,} of {x.n:,} predictions were not the answer.", f"{x.n:,} 条预测中有 {x.wrong:,} 条与答案不符。"),
    ]  # fmt: skip
    found += [_weak(part, x.main) for part in weak_parts(x)]
    for one in x.robustness:
        if one.difference.is_certain and not one.difference.first_is_better:
            change = f"{written(one.clean.value)} → {written(one.perturbed.value)}"
            found.append(Text(f"Worse after this change of the texts: {one.title.en} ({figure_name(x.main.name, 'en')} {change}).",
                              f"文本作此改动后变差：{one.title.zh}（{figure_name(x.main.name, 'zh')} {change}）。"))  # fmt: skip
    for there in x.elsewhere:
        shift = f"{written(there.difference, True)} ({span(there.low, there.high, True)})"
        found.append(Text(f"On records from elsewhere ({', '.join(there.files)}): {figure_name(x.main.name, 'en')} {shift} against the test records.",
                          f"在其他来源的记录上（{'、'.join(there.files)}）：{figure_name(x.main.name, 'zh')}与测试记录相差 {shift}。"))  # fmt: skip
    for lost in x.forgetting:
        change = f"{written(lost.before)} → {written(lost.after)}"
        found.append(Text(f"Bits per byte of other texts ({lost.name.en}), before and after the task was learned: {change}.",
                          f"与任务无关的文本（{lost.name.zh}）每字节比特数，微调前后：{change}。"))  # fmt: skip
    found.append(
        Text(
            "What is not named here was not examined.", "此处未提及的方面均未评测。"
        )
    )  # fmt: skip
    return found


def weak_parts(x: TaskExamination) -> list[SliceFigure]:
    """Groups of records whose figure is worse than that of all, interval and all."""
    return [part for part in x.slices if part.figure.n >= FEW and _is_worse(part.figure, x.main)]


def _is_worse(part: Figure, whole: Figure) -> bool:
    if part.low is None or part.high is None:
        return False
    return part.high < whole.value if whole.better == "higher" else part.low > whole.value


def _weak(part: SliceFigure, whole: Figure) -> Text:
    by = _PARTS.get(part.by, Text(part.by, part.by))
    said = f"{written(part.figure.value)} ({span(part.figure.low, part.figure.high)}, n = {part.figure.n:,})"
    return Text(
        f"Weak where {by.en} is {part.name}: {figure_name(whole.name, 'en')} {said}; of all records {written(whole.value)}.",
        f"{by.zh}为 {part.name} 时较弱：{figure_name(whole.name, 'zh')} {said}；全部记录为 {written(whole.value)}。",
    )


def _labels(x: TaskExamination) -> Iterator[str]:
    labels = x.task.get("labels") or x.task.get("tags") or x.task.get("kinds")
    if labels:
        yield f"It knows these and no others: {', '.join(f'`{label}`' for label in labels)}."


def _figures(figures: Sequence[Figure]) -> str:
    rows = [
        (figure_name(one.name, "en"), written(one.value), span(one.low, one.high), f"{one.n:,}")
        for one in figures
    ]
    return _table(("figure", "value", "95 % interval", "records"), rows)


def _beside(x: TaskExamination) -> Iterator[str]:
    rows = [
        (one.name, written(figure.value), span(figure.low, figure.high))
        for one in x.baselines
        for figure in one.figures
        if figure.name == x.main.name
    ]
    if rows:
        yield f"Simple models that learned from the same records, by {figure_name(x.main.name, 'en')}:"
        yield _table(("model", "value", "95 % interval"), rows)


def _data(x: TaskExamination) -> Iterator[str]:
    if x.files:
        yield _table(("file", "fingerprint"), [(path, f"`{digest}`") for path, digest in x.files.items()])
    if x.notes:
        yield _list([note.en for note in x.notes])
    yield "The licences of these files are not known to Hanlin."


def _lineage(manifest: Manifest) -> list[str]:
    inputs = [f"{name}: `{digest}`" for name, digest in manifest.inputs.items()]
    return [f"this folder: `{manifest.fingerprint}`", *inputs]


def _chinese(x: TaskExamination) -> list[str]:
    named = [
        f"{figure_name(one.name, 'zh')} {written(one.value)}（95 % 区间 {span(one.low, one.high)}）"
        for one in x.figures
    ]
    return [counted(x).zh, *named, *(one.zh for one in (*limits(x), *x.notes))]


def _title(folder: Path) -> str:
    path = folder.resolve()
    return path.parent.name if path.name == "model" else path.name


def _details(title: str, values: Mapping[str, Any]) -> str:
    return f"{title}:\n\n```json\n{json.dumps(values, ensure_ascii=False, indent=1)}\n```"


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_line(line)}" for line in lines)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(
        "| " + " | ".join(_line(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _line(text: str) -> str:
    return " ".join(text.split())

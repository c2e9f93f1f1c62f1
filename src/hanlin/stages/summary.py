"""What a finished run prints: where everything is, samples, the examination, and how to go on."""

import shutil
import sys
from pathlib import Path

from hanlin.base.language import Text
from hanlin.evaluate.results import Difference, Examination, ObjectiveExamination
from hanlin.stages.evaluate import read_examination, read_samples
from hanlin.stages.recipe import Recipe


def summary_lines(recipe: Recipe) -> list[str]:
    """The summary for people."""
    found = read_examination(recipe)
    about = _of_objectives(found) if isinstance(found, ObjectiveExamination) else _of_text(recipe, found)
    return ["", *about, *_places(recipe, continues=isinstance(found, Examination))]


def _of_objectives(examination: ObjectiveExamination) -> list[str]:
    lines = [
        str(Text(f"Examination on the {examination.split} split", f"在 {examination.split} 数据集上考核"))
    ]
    for name, objective in examination.objectives.items():
        for measure, figure in objective.figures.items():
            spread = f"  [{figure.interval.low:.3f}, {figure.interval.high:.3f}]" if figure.interval else ""
            lines.append(f"  {name:<18} {measure:<18} {figure.value:.3f}{spread}")
    return lines


def _of_text(recipe: Recipe, examination: Examination) -> list[str]:
    lines = [str(Text("Continuations", "续写"))]
    for sample in read_samples(recipe.places.evaluate):
        lines += [f"  {sample.prompt}|{sample.continuation}".replace("\n", "\n  "), ""]
    lines.append(
        str(
            Text(
                f"Examination on {examination.documents} held-out documents (bits per byte: lower is better, 8 = no knowledge)",
                f"在 {examination.documents} 篇未见过的文档上考核（每字节比特数：越低越好，8 表示一无所知）",
            )
        )
    )
    for name, figures in examination.models.items():
        interval = figures.bits_per_byte_interval
        spread = f"  [{interval.low:.3f}, {interval.high:.3f}]" if interval else ""
        lines.append(
            f"  {name:<12} {figures.bits_per_byte:.3f}{spread}   perplexity {figures.perplexity:,.1f}"
        )
    return [*lines, *map(_difference, examination.differences)]


def _places(recipe: Recipe, continues: bool) -> list[str]:
    """Where everything is, and what can be done with the model."""
    places, folder, program = recipe.places, recipe.folder, _program()
    lines = [
        "",
        str(Text("Where everything is", "所在位置")),
        f"  {Text('report     ', '报告   ')} {places.report}",
        f"  {Text('model      ', '模型   ')} {places.model}",
        f"  {Text('corpus     ', '语料   ')} {places.corpus} (CARD.md)",
        f"  {Text('metrics    ', '训练记录')} {places.pretrain / 'metrics.jsonl'}",
        "",
        str(Text("Go on", "接下来")),
    ]
    if not continues:
        shown = f"  {program} show model {places.model}"
        encodes = recipe.model.assembly == "encoder"
        return [*lines, shown, *[f'  {program} embed --model {places.model} --text "..."'] * encodes]
    return [
        *lines,
        f'  {program} generate {folder} "..."',
        f"  {program} chat {folder}",
        f"  {program} serve {folder}        {Text('then open http://127.0.0.1:8000', '然后打开 http://127.0.0.1:8000')}",
    ]


def _program() -> str:
    """How the user can call us: by name if a shell finds it, else by the path of the command beside this Python."""
    beside = Path(sys.executable).with_name("hanlin")
    if shutil.which("hanlin") or not beside.exists():
        return "hanlin"
    return str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)


def _difference(difference: Difference) -> str:
    """Who is better, by how much, and whether it is more than chance."""
    spread = ""
    if difference.interval is not None:
        spread = f" [{difference.interval.low:+.3f}, {difference.interval.high:+.3f}]"
    verdict = (
        Text("more than chance", "并非偶然") if difference.certain else Text("may be chance", "可能出于偶然")
    )
    return f"  {difference.first} - {difference.second}: {difference.bits_per_byte:+.3f}{spread}, {verdict}"

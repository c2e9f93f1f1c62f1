"""Text files whose lines have a form of their own: fastText, `LABEL:sub text`, SemEval-2010 task 8, plain lines."""

import re
from collections.abc import Sequence
from pathlib import Path

from hanlin.base.language import Text
from hanlin.corpus.intake import path_text
from hanlin.records.loaded import Problem, Row
from hanlin.records.table import Table, Troubles, columns_of, lines_of

_FASTTEXT = re.compile(r"((?:__label__\S+\s+)+)(.*)")
_COARSE_FINE = re.compile(r"([A-Za-z]+):(\w+)\s+(.+)")
_MARKED = re.compile(r'(\d+)\s+"(.*<e1>.*</e1>.*)"\s*')


def read_lines(path: Path) -> Table:
    """One row a line, in the form that most of the first lines have; without any, the column is called `text`."""
    troubles = Troubles()
    where = path_text(path)
    lines = list(lines_of(path, troubles))
    if any(_MARKED.fullmatch(line) for line in lines[:3]):
        return _marked_relations(where, lines, troubles.problems)
    rows: list[Row] = []
    form = next((one for one in (_FASTTEXT, _COARSE_FINE) if _all_match(one, lines[:200])), None)
    for number, line in enumerate(lines, 1):
        place = f"{where}:{number}"
        if form is None:
            rows.append(Row(place, {"text": line}))
        elif found := form.fullmatch(line):
            rows.append(Row(place, _values(form, found)))
        elif line.strip():
            troubles.problems.append(_other_form(place, line))
    note = Text(
        f"{where} has one text a line" + (", after its label." if form else "."),
        f"{where} 每行一条文本" + ("，标签在前。" if form else "。"),
    )
    return Table(where, rows, columns_of(rows), troubles.problems, [note])


def _all_match(form: re.Pattern[str], lines: Sequence[str]) -> bool:
    return any(map(str.strip, lines)) and all(form.fullmatch(line) for line in lines if line.strip())


def _values(form: re.Pattern[str], found: re.Match[str]) -> dict[str, object]:
    if form is _FASTTEXT:
        return {"label": [name.removeprefix("__label__") for name in found[1].split()], "text": found[2]}
    return {"label": found[1], "fine_label": f"{found[1]}:{found[2]}", "text": found[3]}


def _marked_relations(where: str, lines: Sequence[str], problems: list[Problem]) -> Table:
    """SemEval-2010 task 8: a numbered sentence in quotation marks with <e1> and <e2>, its relation, a comment."""
    rows: list[Row] = []
    for number, line in enumerate(lines, 1):
        if found := _MARKED.fullmatch(line):
            following = lines[number].strip() if number < len(lines) else ""
            values = {"id": found[1], "text": found[2]}
            rows.append(Row(f"{where}:{number}", values | ({"relation": following} if following else {})))
        elif "<e1>" in line and line[:1].isdecimal():
            problems.append(_other_form(f"{where}:{number}", line))
    note = Text(
        f"{where} has sentences with the marks <e1> and <e2>, and the relation in the line after each.",
        f"{where} 的句子带有 <e1>、<e2> 标记，关系写在下一行。",
    )
    return Table(where, rows, columns_of(rows), problems, [note])


def _other_form(place: str, line: str) -> Problem:
    return Problem(
        place,
        Text(
            f"the line does not have the form of those before: {line!r:.60}",
            f"该行与前面各行的形式不同：{line!r:.60}",
        ),
        Text("Write it as the others are.", "请按其他行的形式书写。"),
    )

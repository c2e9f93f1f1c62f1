"""Sentences with marks on the two names between which a relation holds: SemEval-2010 task 8 (aclanthology S10-1006)."""

import re
from collections.abc import Callable

from hanlin.base.language import Text
from hanlin.base.records import Extracted, Relation, Span
from hanlin.records.columns import Columns
from hanlin.records.loaded import Row
from hanlin.records.table import Table
from hanlin.records.values import BadRow, is_empty, text_of

_MARK = re.compile(r"</?(e\d)>")


def marked(table: Table, columns: Columns, answers: bool, text: str) -> Callable[[Row], Extracted | None]:
    """Sentences in which <e1> and <e2> mark what a relation is between: `Cause-Effect(e2,e1)` runs from e2 to e1."""
    told = ("relation", "label", "labels")
    relation = columns.need("relations", told) if answers else columns.find("relations", told)

    def read(row: Row) -> Extracted | None:
        string, places = _unmarked(text_of(row.values.get(text), text))
        if set(places) != {"e1", "e2"}:
            raise BadRow(
                Text(
                    "the marks <e1> and <e2> do not both stand in the sentence",
                    "句中没有同时出现 <e1> 与 <e2> 标记",
                ),
                Text(
                    "Mark both: <e1>one</e1> and <e2>the other</e2>.",
                    "请把两处都标出：<e1>甲</e1>、<e2>乙</e2>。",
                ),
            )
        name = row.values.get(relation) if relation else None
        if is_empty(name) and answers:
            raise missing_list(relation)
        marks = tuple(
            Span(start=start, stop=stop, kind=kind) for kind, (start, stop) in sorted(places.items())
        )
        if is_empty(name):
            return Extracted(text=string, spans=marks)
        first, second = ("e2", "e1") if str(name).endswith("(e2,e1)") else ("e1", "e2")
        spans = places[first], places[second]
        found = Relation(
            subject=string[slice(*spans[0])],
            relation=re.sub(r"\(e[12],e[12]\)$", "", str(name)),
            object=string[slice(*spans[1])],
            subject_span=spans[0],
            object_span=spans[1],
        )
        return Extracted(text=string, spans=marks, relations=(found,))

    return read


def _unmarked(text: str) -> tuple[str, dict[str, tuple[int, int]]]:
    """The text without its marks, and where each marked stretch stands in it."""
    plain, places, starts, end = "", {}, dict[str, int](), 0
    for mark in _MARK.finditer(text):
        plain += text[end : mark.start()]
        end = mark.end()
        if mark[0].startswith("</"):
            if mark[1] in starts:
                places[mark[1]] = (starts[mark[1]], len(plain))
        else:
            starts[mark[1]] = len(plain)
    return plain + text[end:], places


def missing_list(column: str | None) -> BadRow:
    """The problem of a row that does not say what is to be found."""
    return BadRow(
        Text(f"'{column}' is missing", f"缺少“{column}”"),
        Text("Write an empty list where there is nothing to be found.", "没有可抽取的内容时，请写空列表。"),
    )

"""Rows as questions: about a context (SQuAD), with choices, or with answers in one's own words."""

import re
from collections.abc import Callable
from typing import Any

from hanlin.base.language import Text
from hanlin.base.records import Question
from hanlin.records import names
from hanlin.records.choices import choice_columns, chosen, missing_answer
from hanlin.records.columns import Columns, plain_name
from hanlin.records.loaded import Row
from hanlin.records.table import Table
from hanlin.records.values import (
    BadRow,
    is_empty,
    is_number,
    list_of,
    split_at,
    text_of,
)

_MOVED = Text(
    "the answer stands elsewhere in the context; its place is mended", "答案在原文中的位置有误，已更正"
)
_FOUND = Text(
    "the answer's only place in the context is taken as its start", "答案在原文中只出现一次，以此为起点"
)


def question(table: Table, columns: Columns, answers: bool) -> Callable[[Row], Question | None]:
    """A reader of rows as `Question`; which form the rows have is seen in the columns."""
    asked = columns.need("question", names.QUESTION)
    nested = any(isinstance(row.values.get(asked), dict) for row in table.rows[:10])
    choices = choice_columns(columns) if not nested else [asked]
    context = columns.find("context", names.CONTEXT)
    if choices:
        return chosen(table, columns, answers, asked, context, choices)
    return _answered(table, columns, answers, asked, context)


def _answered(
    table: Table, columns: Columns, answers: bool, asked: str, context: str | None
) -> Callable[[Row], Question | None]:
    told = columns.need("answers", names.ANSWERS) if answers else columns.find("answers", names.ANSWERS)
    starts = columns.find("starts", names.STARTS)
    separated = told is not None and plain_name(told) == "correctanswers"

    def read(row: Row) -> Question | None:
        text = (
            None
            if not context or is_empty(row.values.get(context))
            else text_of(row.values[context], context)
        )
        impossible = row.values.get("is_impossible") is True
        cell = row.values.get(told) if told else None
        cell = split_at(cell, (";", "；")) if separated else cell
        pairs = [] if impossible else _answers(cell, row.values.get(starts) if starts else None)
        unanswerable = impossible or (
            not pairs and text is not None and told is not None and _says_none(row.values.get(told))
        )
        if not pairs and not unanswerable and answers:
            raise missing_answer(told)
        placed = [_placed(row, text, answer, start, table) for answer, start in pairs]
        known = text is not None and all(start is not None for _, start in placed)
        return Question(
            question=text_of(row.values.get(asked), asked),
            context=text,
            answers=tuple(answer for answer, _ in placed) if placed or unanswerable else None,
            starts=tuple(start for _, start in placed if start is not None)
            if known and (placed or unanswerable)
            else None,
        )

    return read


def _says_none(cell: Any) -> bool:
    """Whether the row says that there is no answer: an empty list, or Hugging Face's {"text": []}."""
    return cell == [] or (isinstance(cell, dict) and cell.get("text") == [])


def _answers(cell: Any, starts: Any) -> list[tuple[str, int | None]]:
    """(answer, where it starts) of SQuAD's list, of Hugging Face's two lists, of plain texts."""
    if isinstance(cell, dict) and "text" in cell:
        texts, starts = list_of(cell["text"]), list_of(cell.get("answer_start"))
    else:
        items = list_of(cell)
        texts = [item.get("text") if isinstance(item, dict) else item for item in items]
        starts = (
            [item.get("answer_start") if isinstance(item, dict) else None for item in items]
            if any(isinstance(item, dict) for item in items)
            else list_of(starts)
        )
    filled = list(starts) + [None] * (len(texts) - len(starts))
    return [
        (text_of(text, "answers"), int(start) if is_number(start) else None)
        for text, start in zip(texts, filled, strict=False)
        if not is_empty(text)
    ]


def _placed(
    row: Row, context: str | None, answer: str, start: int | None, table: Table
) -> tuple[str, int | None]:
    """The answer with the place where it really stands; a wrong place is mended if the nearest right one is the only near.

    Raises `BadRow` for a place that is wrong while the answer stands nowhere, or at several places equally near.
    """
    if context is None:
        return answer, None
    if start is not None and start >= 0 and context[start : start + len(answer)] == answer:
        return answer, start
    found = [place.start() for place in re.finditer(f"(?={re.escape(answer)})", context)]
    if start is None or start < 0:
        if len(found) == 1:
            table.count(_FOUND, row.place)
        return answer, found[0] if len(found) == 1 else None
    near = sorted(found, key=lambda place: abs(place - start))
    if not near or (len(near) > 1 and abs(near[0] - start) == abs(near[1] - start)):
        there = context[start : start + len(answer)]
        raise BadRow(
            Text(
                f"the answer {answer!r:.40} does not stand at {start} of its context (there: {there!r:.40})"
                + ("" if near else ", nor anywhere in it"),
                f"答案 {answer!r:.40} 不在原文第 {start} 字处（该处为 {there!r:.40}）"
                + ("" if near else "，原文中也没有它"),
            ),
            Text("Mend the answer or its start.", "请更正答案或其起始位置。"),
        )
    table.count(_MOVED, row.place)
    return answer, near[0]

"""Rows as questions: about a context (SQuAD), with choices, or with answers in one's own words."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from hanlin.base.language import Text
from hanlin.base.records import Question
from hanlin.records import names
from hanlin.records.columns import Columns, plain_name
from hanlin.records.loaded import Row
from hanlin.records.table import Table
from hanlin.records.values import (
    BadRow,
    is_empty,
    is_number,
    label_of,
    list_of,
    number_of,
    read_list,
    split_at,
    text_of,
)

_LETTERED = re.compile(r"[(（]?([A-H])[)）.．、:：]\s*")
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
    choices = _choice_columns(columns) if not nested else [asked]
    context = columns.find("context", names.CONTEXT)
    if choices:
        return _chosen(table, columns, answers, asked, context, choices)
    return _answered(table, columns, answers, asked, context)


def _choice_columns(columns: Columns) -> list[str]:
    """The column of all choices, or a column for each; [] if there are none."""
    if one := columns.find("choices", names.CHOICES):
        return [one]
    for group in names.CHOICE_COLUMNS:
        present = [name for name in group if name in columns.names]
        if len(present) > 1:
            columns.take("choices", ", ".join(present))
            return present
    return []


def _chosen(
    table: Table, columns: Columns, answers: bool, asked: str, context: str | None, choices: list[str]
) -> Callable[[Row], Question | None]:
    scored = plain_name(choices[0]) == "targetscores"  # BIG-bench's form: {choice: 1 if it is right, else 0}
    right = (
        columns.find("right", names.RIGHT) if not answers or scored else columns.need("right", names.RIGHT)
    )
    from_one = right is not None and _counts_from_one(table, choices, right)
    if from_one:
        table.notes.append(
            Text(
                f"{table.where}: '{right}' counts the choices from 1.",
                f"{table.where}：“{right}”从 1 起给选项编号。",
            )
        )

    def read(row: Row) -> Question | None:
        stem, given, marks = _stem_and_choices(row.values, asked, choices)
        said = row.values.get(right) if right else None
        if scored and is_empty(said):
            said = max(row.values[choices[0]], key=row.values[choices[0]].get)
        if is_empty(said) and answers:
            raise _missing(right)
        number = None if is_empty(said) else _number_of_choice(said, given, marks, from_one)
        return Question(
            question=stem,
            context=None
            if not context or is_empty(row.values.get(context))
            else text_of(row.values[context], context),
            choices=given,
            right=number,
            answers=None if number is None else (given[number],),
        )

    return read


def _stem_and_choices(
    values: dict[str, Any], asked: str, choices: Sequence[str]
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """(question, choices, what the choices are called: A, B, ... unless the row says otherwise)."""
    stem: Any = values.get(asked)
    given: Any = values.get(choices[0]) if len(choices) == 1 else [values.get(one) for one in choices]
    if isinstance(stem, dict):  # AI2's form: {"stem": ..., "choices": [{"text": ..., "label": ...}]}
        stem, given = stem.get("stem"), stem.get("choices")
    texts, marks = _marked_choices(given)
    if len(texts) < 2:
        raise BadRow(
            Text(
                f"{len(texts)} choices; there should be two or more",
                f"只有 {len(texts)} 个选项，至少应有两个",
            ),
            Text("Give a list of choices, or a column for each.", "请给出选项列表，或每个选项一列。"),
        )
    lettered = [_LETTERED.match(one) for one in texts]
    if not marks and all(lettered):
        marks = [one[1] for one in lettered if one]
        texts = [_LETTERED.sub("", one, count=1) for one in texts]
    return text_of(stem, asked), tuple(texts), tuple(marks or map(chr, range(65, 65 + len(texts))))


def _marked_choices(given: Any) -> tuple[list[str], list[str]]:
    """(choices, what they are called, if the row says it) of a list of texts or objects, of two lists, of one text."""
    marks: list[str] = []
    if isinstance(given, dict) and "text" in given:  # Hugging Face's form: {"text": [...], "label": [...]}
        marks, given = [label_of(one) for one in list_of(given.get("label"))], list_of(given["text"])
    elif isinstance(given, dict):
        given = list(given)
    elif isinstance(given, str) and len(pieces := _LETTERED.split(given)) > 3:  # "(A) one (B) two"
        marks, given = pieces[1::2], [piece.strip(" ;；") for piece in pieces[2::2]]
    items = [one for one in read_list(given) if not is_empty(one)]
    if items and all(isinstance(one, dict) for one in items):
        marks = [label_of(one.get("label", "")) for one in items]
        items = [one.get("text") for one in items]
    return [text_of(one, "choices") for one in items], marks


def _counts_from_one(table: Table, choices: Sequence[str], right: str) -> bool:
    """Whether the numbers of right choices run from 1: none is 0, and one is as large as there are choices."""
    numbers = [row.values.get(right) for row in table.rows]
    if not numbers or not all(is_number(one) for one in numbers if not is_empty(one)):
        return False
    values = [int(number_of(one, right)) for one in numbers if not is_empty(one)]
    cell = table.rows[0].values.get(choices[0])
    most = len(choices) if len(choices) > 1 else len(read_list(cell)) if not isinstance(cell, dict) else 0
    return bool(values) and min(values) >= 1 and max(values) == most > 0


def _number_of_choice(said: Any, given: Sequence[str], marks: Sequence[str], from_one: bool) -> int:
    """Which choice is right: by its letter, by its number, or by its words."""
    name = label_of(said)
    if name in marks:
        return marks.index(name)
    letter = name.strip("()（）.． ").upper()
    if letter in marks:
        return marks.index(letter)
    if name.isdecimal() and 0 <= int(name) - from_one < len(given):
        return int(name) - from_one
    if given.count(name) == 1:
        return given.index(name)
    raise BadRow(
        Text(
            f"the answer {name!r:.40} is none of the {len(given)} choices",
            f"答案 {name!r:.40} 不在 {len(given)} 个选项之中",
        ),
        Text(
            f"Write one of {', '.join(marks)}, a number from 0 to {len(given) - 1}, or the choice itself.",
            f"请写 {'、'.join(marks)} 之一、0 到 {len(given) - 1} 的编号，或选项原文。",
        ),
    )


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
            raise _missing(told)
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


def _missing(column: str | None) -> BadRow:
    return BadRow(
        Text(f"'{column}' is empty: the answer is missing", f"“{column}”为空：缺少答案"),
        Text(
            "Fill it in; a question that its context does not answer has an empty list of answers, or is_impossible: true.",
            "请补上；若原文没有答案，请写空列表，或 is_impossible: true。",
        ),
    )

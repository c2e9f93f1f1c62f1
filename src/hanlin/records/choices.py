"""Questions with choices, in the forms in which people write them."""

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
    text_of,
)

_LETTERED = re.compile(r"[(（]?([A-H])[)）.．、:：]\s*")


def choice_columns(columns: Columns) -> list[str]:
    """The column of all choices, or a column for each; [] if there are none."""
    if one := columns.find("choices", names.CHOICES):
        return [one]
    for group in names.CHOICE_COLUMNS:
        present = [name for name in group if name in columns.names]
        if len(present) > 1:
            columns.take("choices", ", ".join(present))
            return present
    return []


def chosen(
    table: Table, columns: Columns, answers: bool, asked: str, context: str | None, choices: list[str]
) -> Callable[[Row], Question | None]:
    """A reader of rows as questions with choices; `choices`: the column of all of them, or one for each."""
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
            raise missing_answer(right)
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


def missing_answer(column: str | None) -> BadRow:
    """The problem of a question without its answer."""
    return BadRow(
        Text(f"'{column}' is empty: the answer is missing", f"“{column}”为空：缺少答案"),
        Text(
            "Fill it in; a question that its context does not answer has an empty list of answers, or is_impossible: true.",
            "请补上；若原文没有答案，请写空列表，或 is_impossible: true。",
        ),
    )

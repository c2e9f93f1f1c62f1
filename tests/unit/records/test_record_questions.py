"""Questions: SQuAD and its kin, multiple choice as people write it, answers in one's own words."""

import json
from pathlib import Path
from typing import Any

import pytest

from hanlin.base.records import Question
from hanlin.records.config import DataConfig
from hanlin.records.load import load_records
from hanlin.records.loaded import Loaded

CONTEXT = "战国无双3是由光荣和ω-force开发的。光荣很好。"


def load(tmp_path: Path, value: Any, answers: bool = True, **settings: Any) -> Loaded[Question]:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(value, ensure_ascii=False))
    return load_records(Question, [file], DataConfig.model_validate(settings), answers)


def squad(*questions: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": "v2.0",
        "data": [{"title": "T", "paragraphs": [{"context": CONTEXT, "qas": list(questions)}]}],
    }


def asked(number: int, **values: Any) -> dict[str, Any]:
    return {"id": f"Q{number}", "question": f"问{number}？", **values}


def test_squad_is_unfolded_with_places_and_unanswerable_questions(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        squad(
            asked(
                1, answers=[{"text": "光荣和ω-force", "answer_start": 7}, {"text": "光荣", "answer_start": 7}]
            ),
            asked(2, answers=[], is_impossible=True),
        ),
    )
    assert loaded.records[0].answers == ("光荣和ω-force", "光荣")
    assert loaded.records[0].starts == (7, 7)
    assert loaded.records[1].answers == ()
    assert loaded.records[1].starts == ()
    assert [place.rpartition("#")[2] for place in loaded.places] == ["Q1", "Q2"]


def test_a_wrong_start_is_mended_if_one_place_is_nearest_and_counted(tmp_path: Path) -> None:
    loaded = load(tmp_path, squad(asked(1, answers=[{"text": "光荣", "answer_start": 9}])))
    assert loaded.records[0].starts == (7,)
    assert any("1 rows: the answer stands elsewhere" in note.en for note in loaded.notes)


def test_an_answer_that_is_not_in_its_context_is_named(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        squad(
            asked(1, answers=[{"text": "任天堂", "answer_start": 3}]),
            asked(2, answers=[{"text": "光荣", "answer_start": 7}]),
        ),
        on_error="skip",
    )
    assert [record.question for record in loaded.records] == ["问2？"]
    assert "'任天堂' does not stand at 3" in loaded.skipped[0].reason.en
    assert loaded.skipped[0].place.endswith("#Q1")


def test_a_start_as_near_to_two_places_is_not_guessed(tmp_path: Path) -> None:
    rows = [{"question": "q", "context": "ab-----ab", "answers": [{"text": "ab", "answer_start": 3}]},
            {"question": "q", "context": "ab----ab--", "answers": [{"text": "ab", "answer_start": 3}]}]  # fmt: skip
    loaded = load(tmp_path, rows, on_error="skip")
    assert [record.starts for record in loaded.records] == [(0,)]
    assert len(loaded.skipped) == 1


def test_hugging_faces_lists_are_answers_with_places(tmp_path: Path) -> None:
    rows = [
        {"question": "q", "context": "a b", "answers": {"text": ["b"], "answer_start": [2]}},
        {"question": "q", "context": "a b", "answers": {"text": [], "answer_start": []}},
    ]
    loaded = load(tmp_path, rows)
    assert [(record.answers, record.starts) for record in loaded.records] == [(("b",), (2,)), ((), ())]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "q", "choices": ["x", "y", "z"], "answer": "C"},
        {"question": "q", "choices": ["x", "y", "z"], "answer": 2},
        {"question": "q", "choices": ["x", "y", "z"], "answer": "z"},
        {"question": {"stem": "q", "choices": [{"text": t, "label": m} for t, m in zip("xyz", "123", strict=True)]},
         "answerKey": "3"},
        {"question": "q", "choices": {"text": ["x", "y", "z"], "label": ["A", "B", "C"]}, "answerKey": "C"},
        {"Question Stem": "q", "Choices": "(A) x (B) y (C) z", "Answer Key": "C"},
        {"question": "q", "options": ["A)x", "B)y", "C)z"], "correct": "C"},
        {"goal": "q", "choice1": "x", "choice2": "y", "choice3": "z", "label": 2},
        {"题目": "q", "A": "x", "B": "y", "C": "z", "答案": "C"},
        {"question": "q", "target_scores": {"x": 0, "y": 0, "z": 1}},
    ],
)  # fmt: skip
def test_choices_are_read_in_every_form(tmp_path: Path, row: dict[str, Any]) -> None:
    loaded = load(tmp_path, [row])
    assert loaded.records == [Question(question="q", choices=("x", "y", "z"), right=2, answers=("z",))]


def test_choices_counted_from_one_are_recognised_and_said(tmp_path: Path) -> None:
    rows = [{"question": "q", "choices": ["x", "y"], "answer": number} for number in (1, 2, 2)]
    loaded = load(tmp_path, rows)
    assert [record.right for record in loaded.records] == [0, 1, 1]
    assert any("from 1" in note.en for note in loaded.notes)


def test_an_answer_that_is_no_choice_is_named(tmp_path: Path) -> None:
    rows = [{"question": "q", "choices": ["x", "y"], "answer": answer} for answer in ("A", "E")]
    loaded = load(tmp_path, rows, on_error="skip")
    assert len(loaded) == 1
    assert "'E' is none of the 2 choices" in loaded.skipped[0].reason.en


def test_answers_in_ones_own_words_need_no_context_and_may_be_absent_for_prediction(tmp_path: Path) -> None:
    loaded = load(tmp_path, [{"question": "1 + 1?", "answer": "#### 2"}])
    assert loaded.records == [Question(question="1 + 1?", answers=("#### 2",))]
    rows = [{"question": "1 + 1?", "answer": ""}, {"question": "2 + 2?", "answer": "4"}]
    assert load(tmp_path, rows, answers=False).records[0].answers is None
    assert "answer is missing" in load(tmp_path, rows, on_error="skip").skipped[0].reason.en

"""Texts with classes and with numbers: columns are guessed and said, classes have one name each."""

import json
from pathlib import Path
from typing import Any

import pytest

from hanlin.base.errors import DataError
from hanlin.base.records import Labelled, Scored
from hanlin.records.config import DataConfig
from hanlin.records.load import load_records
from hanlin.records.loaded import Loaded


def load(tmp_path: Path, rows: list[dict[str, Any]], schema: type = Labelled, **settings: Any) -> Loaded[Any]:
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = settings.pop("answers", True)
    return load_records(schema, [file], DataConfig.model_validate(settings), answers)


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"sentence1": "a", "sentence2": "b", "label": 1}, {"text": "sentence1", "pair": "sentence2", "label": "label"}),
        ({"Quality": "1", "#1 ID": "7", "#1 String": "a", "#2 String": "b"},
         {"text": "#1 String", "pair": "#2 String", "label": "Quality"}),
        ({"question": "a", "sentence": "b", "label": "entailment"},
         {"text": "question", "pair": "sentence", "label": "label"}),
        ({"qtext": "a", "label": 0, "atext": "b"}, {"text": "qtext", "pair": "atext", "label": "label"}),
        ({"标签": "体育", "标题": "a"}, {"text": "标题", "label": "标签"}),
        ({"句子1": "a", "句子2": "b", "类别": "蕴含"}, {"text": "句子1", "pair": "句子2", "label": "类别"}),
        ({"topic": "race", "label": 1, "TEXT": "a"}, {"text": "TEXT", "label": "label"}),
        ({"id": 3, "class": 2, "tweet": "a"}, {"text": "tweet", "label": "class"}),
        ({"review": "a", "情感": "正面"}, {"text": "review", "label": "情感"}),
    ],
)  # fmt: skip
def test_columns_are_guessed_in_english_and_chinese_and_said(
    tmp_path: Path, row: dict[str, Any], columns: dict[str, str]
) -> None:
    loaded = load(tmp_path, [row])
    assert loaded.columns == columns
    for column in columns.values():
        assert column in loaded.notes[0].en
        assert column in loaded.notes[0].zh


def test_what_is_not_used_is_said(tmp_path: Path) -> None:
    loaded = load(tmp_path, [{"text": "a", "label": 1, "author": "x"}])
    assert "not used: author" in loaded.notes[0].en


def test_a_number_is_one_class_however_it_is_written_and_that_is_counted(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        [{"text": t, "label": label} for t, label in (("a", 1), ("b", "1"), ("c", 1.0), ("d", "1.0"))],
    )
    assert {record.labels for record in loaded.records} == {("1",)}
    assert any("2 rows: 'label' is a number written as text" in note.en for note in loaded.notes)


def test_numbers_beside_words_in_one_column_are_an_error_with_both_places(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load(tmp_path, [{"text": "a", "label": 1}, {"text": "b", "label": "positive"}])
    assert "a.jsonl:1" in error.value.problem.en
    assert "a.jsonl:2" in error.value.problem.en


def test_truths_beside_numbers_are_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="True"):
        load(tmp_path, [{"text": "a", "label": 1}, {"text": "b", "label": True}])
    assert load(tmp_path, [{"text": "a", "label": True}]).records[0].labels == ("true",)


def test_in_a_table_of_text_numbers_beside_words_are_said(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("text,label\na,1\nb,positive\n")
    loaded = load_records(Labelled, [file], DataConfig())
    assert any("numbers ('1' at" in note.en for note in loaded.notes)


def test_rows_that_say_they_have_no_label_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [{"premise": f"p{i}", "hypothesis": "h", "label": "neutral"} for i in range(5)]
    loaded = load(tmp_path, [*rows, {"premise": "x", "hypothesis": "y", "label": "-"}])
    assert len(loaded) == 5
    assert loaded.skipped == []
    assert any("1 rows: has no label" in note.en and "a.jsonl:6" in note.en for note in loaded.notes)


@pytest.mark.parametrize(("others", "kept"), [(99, False), (9, True)])
def test_minus_one_is_no_label_where_it_is_rare_and_a_class_where_it_is_not(
    tmp_path: Path, others: int, kept: bool
) -> None:
    rows = [{"text": f"t{number}", "label": number % 2} for number in range(others)]
    loaded = load(tmp_path, [*rows, {"text": "last", "label": -1}])
    assert (("-1",) in {record.labels for record in loaded.records}) is kept
    assert any("-1" in note.en for note in loaded.notes)


def test_a_test_file_whose_labels_are_all_minus_one_can_be_predicted(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": -1}, {"text": "b", "label": -1}]
    assert [record.labels for record in load(tmp_path, rows, answers=False).records] == [None, None]
    with pytest.raises(DataError):
        load(tmp_path, rows)


def test_answers_may_be_absent_for_prediction_only(tmp_path: Path) -> None:
    rows = [{"text": "a"}, {"text": "b"}]
    assert len(load(tmp_path, rows, answers=False)) == 2
    with pytest.raises(DataError, match="label"):
        load(tmp_path, rows)


def test_several_labels_come_as_lists_or_with_separators_that_are_seen(tmp_path: Path) -> None:
    lists = load(tmp_path, [{"text": "a", "labels": ["x", "y"]}, {"text": "b", "labels": []}])
    assert [record.labels for record in lists.records] == [("x", "y"), ()]
    plural = load(tmp_path, [{"text": "a", "labels": "x; y"}, {"text": "b", "labels": "x"}])
    assert [record.labels for record in plural.records] == [("x", "y"), ("x",)]
    pieces = load(
        tmp_path, [{"text": t, "label": label} for t, label in (("a", "x"), ("b", "x|y"), ("c", "y"))]
    )
    assert pieces.records[1].labels == ("x", "y")
    whole = load(
        tmp_path, [{"text": "a", "label": "Component-Whole(e2,e1)"}, {"text": "b", "label": "Other"}]
    )
    assert whole.records[0].labels == ("Component-Whole(e2,e1)",)


def test_a_score_must_be_a_number(tmp_path: Path) -> None:
    rows = [{"sentence1": "a", "sentence2": "b", "score": "3.8"}, {"sentence1": "c", "sentence2": "d", "score": "high"},
            {"sentence1": "e", "sentence2": "f", "score": "nan"}]  # fmt: skip
    loaded = load(tmp_path, rows, Scored, on_error="skip")
    assert loaded.records == [Scored(text="a", pair="b", score=3.8)]
    assert len(loaded.skipped) == 2
    assert "'high'" in loaded.skipped[0].reason.en


def test_text_and_label_can_be_named_for_any_kind(tmp_path: Path) -> None:
    loaded = load(tmp_path, [{"essay": "a", "mark": 4}], Scored, columns={"text": "essay", "label": "mark"})
    assert loaded.records == [Scored(text="a", score=4.0)]

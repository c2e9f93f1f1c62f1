"""Copies, near copies, shared texts and contradictions are found with both places; doubtful labels too."""

import json
from pathlib import Path

import numpy as np
import pytest

from hanlin.base.records import Labelled, Question, TaskRecord, Written
from hanlin.records.doubts import confident_errors, find_doubts
from hanlin.records.loaded import Loaded
from hanlin.records.overlap import Overlaps, find_overlaps


def side(name: str, *records: TaskRecord) -> Loaded[TaskRecord]:
    return Loaded(
        list(records), [f"{name}:{number}" for number in range(1, len(records) + 1)], [{} for _ in records]
    )


def text(words: str, label: str = "a", pair: str | None = None) -> Labelled:
    return Labelled(text=words, pair=pair, labels=(label,))


def counts(found: Overlaps) -> dict[tuple[str, str, str], int]:
    return {(one.kind, one.first, one.second): one.count for one in found.found}


def test_copies_are_counted_within_and_across_sides_whatever_their_case_and_width() -> None:
    train = side("train", text("Good film"), text("ｇｏｏｄ  film"), text("bad"))
    test = side("test", text("GOOD FILM"), text("new"), text("good film"))
    found = find_overlaps({"train": train, "test": test}, near=False)
    assert counts(found) == {
        ("copies", "train", "test"): 2,
        ("copies", "train", "train"): 1,
        ("copies", "test", "test"): 1,
    }
    (leak,) = found.leaks
    assert (leak.of, leak.examples[0].first, leak.examples[0].second) == (3, "train:1", "test:1")
    assert "2 of 3 (66.7%) also stand in train" in leak.text.en


def test_equal_inputs_with_other_answers_contradict_and_translations_do_not() -> None:
    train = side("train", text("fine", "a"), text("Fine", "b"), text("fine", "a"))
    found = find_overlaps({"train": train}, near=False)
    assert found.contradictions == 1
    assert found.contradicting[0].answers == ("a", "b")
    assert (found.contradicting[0].first, found.contradicting[0].second) == ("train:1", "train:2")
    two = side("train", Written(source="Hi", targets=("你好",)), Written(source="Hi", targets=("嗨",)))
    assert find_overlaps({"train": two}, near=False).contradictions == 0


def test_pairs_the_other_way_round_and_shared_contexts_are_leaks() -> None:
    train = side("train", text("one", pair="two"))
    test = side("test", text("two", pair="one"), text("one", pair="three"))
    found = counts(find_overlaps({"train": train, "test": test}, near=False))
    assert found == {("swapped", "train", "test"): 1, ("texts", "train", "test"): 2}
    questions = {
        name: side(name, Question(question=f"q {name}", context="the same context", answers=("x",)))
        for name in ("train", "test")
    }
    assert counts(find_overlaps(questions, near=False)) == {("texts", "train", "test"): 1}


def test_one_question_with_other_choices_is_no_contradiction_and_leaks_across_sides() -> None:
    one = Question(question="q", choices=("a", "b"), right=0)
    other = Question(question="q", choices=("c", "d"), right=1)
    found = find_overlaps({"train": side("train", one), "test": side("test", other)}, near=False)
    assert found.contradictions == 0
    assert counts(found) == {("texts", "train", "test"): 1}


def test_near_copies_are_found_in_english_and_chinese_and_exact_ones_are_not_counted_again() -> None:
    pytest.importorskip("rensa")
    english = "the quick brown fox jumps over the lazy dog while the old man reads his paper on the green bench today"
    chinese = "蚂蚁花呗的账单可以分期付款吗请问怎样才能把还款日期推迟到下个月的十号以后呢谢谢客服"
    train = side(
        "train", text(english), text(chinese), text("something else altogether and quite unlike them")
    )
    test = side("test", text(english.replace("today", "now")), text(chinese + "啊"), text(chinese))
    assert counts(find_overlaps({"train": train, "test": test})) == {
        ("copies", "train", "test"): 1,
        ("near copies", "train", "test"): 2,
        ("near copies", "test", "test"): 1,
    }


def test_two_questions_about_one_long_context_are_no_near_copies() -> None:
    pytest.importorskip("rensa")
    context = " ".join(f"word{number}" for number in range(100))
    asked = [
        Question(question=q, context=context, answers=("x",))
        for q in ("who was it", "when did they go there")
    ]
    assert find_overlaps({"train": side("train", *asked)}).found == ()


def test_what_stands_twice_is_said_in_both_languages() -> None:
    found = find_overlaps({"train": side("train", text("a", "1"), text("a", "2"))}, near=False)
    assert [bool(one.en and one.zh) for one in found.texts()] == [True, True]


def test_confident_learning_names_the_errors_of_a_worked_example() -> None:
    """Thresholds are 0.8 of class 0 (0.9, 0.9, 0.6) and 0.6 of class 1 (0.9, 0.8, 0.1): the last record is named."""
    zero = np.array([0.9, 0.9, 0.6, 0.1, 0.2, 0.9])
    probabilities = np.stack([zero, 1 - zero], 1)
    assert confident_errors(probabilities, np.array([0, 0, 0, 1, 1, 1])) == [(5, 0)]
    unsure = np.array([0.9, 0.9, 0.6, 0.1, 0.2, 0.7])
    assert confident_errors(np.stack([unsure, 1 - unsure], 1), np.array([0, 0, 0, 1, 1, 1])) == []


def noisy(count: int, wrong: set[int]) -> Loaded[Labelled]:
    generator = np.random.default_rng(0)
    words = {"体育": ["比赛", "球队", "进球", "冠军"], "财经": ["股票", "基金", "上涨", "利率"]}
    records = []
    for number in range(count):
        kind = ("体育", "财经")[number % 2]
        said = "".join(generator.choice(words[kind], 6))
        label = ("财经", "体育")[number % 2] if number in wrong else kind
        records.append(Labelled(text=said, labels=(label,)))
    return Loaded(records, [f"a:{number}" for number in range(count)], [{}] * count)


def test_labels_that_were_changed_are_doubted_and_no_others() -> None:
    pytest.importorskip("sklearn")
    wrong = {4, 15, 32}
    doubts = find_doubts(noisy(80, wrong))
    assert {int(one.place.partition(":")[2]) for one in doubts.found} == wrong
    assert doubts.found[0].likelier != doubts.found[0].label
    assert doubts.accuracy > 0.9


def test_where_the_simple_model_knows_nothing_no_label_is_doubted_and_that_is_said() -> None:
    pytest.importorskip("sklearn")
    generator = np.random.default_rng(1)
    records = [
        Labelled(text=" ".join(generator.choice(list("abcdefgh"), 5)), labels=(str(n % 2),))
        for n in range(100)
    ]
    doubts = find_doubts(Loaded(records, [str(n) for n in range(100)], [{}] * 100))
    assert doubts.found == ()
    assert "too close" in doubts.notes[-1].en


def test_the_report_is_json(tmp_path: Path) -> None:
    from dataclasses import asdict

    found = find_overlaps({"train": side("train", text("a", "1"), text("a", "2"))}, near=False)
    assert json.loads(json.dumps([asdict(one) for one in found.found]))[0]["count"] == 1

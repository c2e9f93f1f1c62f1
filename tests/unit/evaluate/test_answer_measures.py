"""Answers, worked out by hand."""

import numpy as np
import pytest

from hanlin.evaluate.answered import answer_measures, exact, f1_of_run, f1_of_words
from hanlin.evaluate.words import answer_words


def values(truth: list[list[str]], said: list[str]) -> dict[str, float]:
    return {one.name: one.value for one in answer_measures(truth, said)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The  Beyoncé's\talbum, an  A!", ["beyoncés", "album"]),
        ("U.S. $3.5-million", ["us", "35million"]),
        ("theatre", ["theatre"]),
        ("北京大学，《红楼梦》。", list("北京大学红楼梦")),
        ("iPhone 12手机", ["iphone", "12", "手", "机"]),
        ("“the”", []),
    ],
)
def test_what_does_not_matter_is_taken_away(text: str, words: list[str]) -> None:
    assert answer_words(text) == words


def test_english_by_hand() -> None:
    """Three words said, two right, of two: 2 x 2 / 5. A word that is said twice is found as often as it is there."""
    assert values([["Saint Bernadette"]], ["saint bernadette soubirous"]) == pytest.approx(
        {"exact_match": 0, "f1": 4 / 5}
    )
    assert f1_of_words(["to", "be", "to"], ["to", "go"]) == pytest.approx(2 / 5)


def test_the_best_of_several_right_answers_counts() -> None:
    measured = values([["in Paris", "Paris", "the city of Paris"]], ["Paris!"])
    assert measured == {"exact_match": 1, "f1": 1}


def test_chinese_by_character_and_by_the_longest_run() -> None:
    """5 characters said, 4 right, of 4: 8 / 9 both ways. 北大京学 has all 4 of 北京大学 but no run longer than 1."""
    assert values([["北京大学"]], ["在北京大学。"]) == pytest.approx(
        {"exact_match": 0, "f1": 8 / 9, "cmrc_f1": 8 / 9}
    )
    assert values([["北京大学"]], ["北大京学"]) == pytest.approx(
        {"exact_match": 0, "f1": 1, "cmrc_f1": 1 / 4}
    )
    assert f1_of_run(list("abxcd"), list("abcd")) == pytest.approx(4 / 9)
    assert not exact(list("北大京学"), list("北京大学"))


def test_questions_without_an_answer() -> None:
    measures = {
        one.name: one for one in answer_measures([["yes"], [], [], ["the", ""]], ["yes sir", "", "no", ""])
    }
    assert measures["exact_match"].value == pytest.approx(2 / 4)
    assert measures["f1"].value == pytest.approx((2 / 3 + 1 + 0 + 1) / 4)
    assert measures["answerable_f1"].value == pytest.approx(2 / 3)
    assert measures["unanswerable_accuracy"].value == pytest.approx(2 / 3)
    assert measures["unanswerable_accuracy"].of(np.array([0, 2])) == 0
    assert set(values([["a cat"]], ["cat"])) == {"exact_match", "f1"}


def test_silence_is_no_answer_where_there_is_one() -> None:
    assert values([["Paris"]], [""]) == {"exact_match": 0, "f1": 0}

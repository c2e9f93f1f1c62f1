from pathlib import Path

import numpy as np
import pytest

from hanlin.base.errors import DataError
from hanlin.evaluate import vector_lists
from hanlin.evaluate.vectors import WordVectors, analogies, read_analogies, read_similarities, similarity


def square() -> WordVectors:
    """Gender along one axis, rank along the other, each word a little away from the corner; one unknown word."""
    words = ["man", "woman", "king", "queen", "apple", "ghost"]
    vectors = [[1, 0, 1], [1, 1, 1], [3, 0, 1], [3, 1.2, 1], [-1, -2, 1], [np.nan] * 3]
    return WordVectors(words, np.array(vectors))


def test_analogies_by_3cosadd() -> None:
    questions = [("man", "king", "woman", "queen"), ("king", "man", "queen", "woman")]
    found = analogies(
        square(), [*questions, ("man", "king", "woman", "apple"), ("man", "ghost", "king", "queen")]
    )
    assert (found.asked, found.unknown) == (3, 1)
    assert found.value == pytest.approx(2 / 3)


def test_the_given_words_are_no_answers() -> None:
    """b - a + c is nearest to c itself, which must not count."""
    vectors = WordVectors("abcd", np.array([[1.0, 0.1], [1.0, 0.0], [0.2, 1.0], [0.5, 1.0]]))
    assert analogies(vectors, [("a", "b", "c", "d")]).value == 1


def test_similarity_is_the_rank_correlation_with_people() -> None:
    pairs = [("man", "woman", 8.0), ("king", "queen", 9.0), ("man", "apple", 1.0), ("ghost", "man", 5.0)]
    vectors = square()
    found = similarity(vectors, pairs)
    assert (found.asked, found.unknown) == (3, 1)
    assert found.value == pytest.approx(1.0)
    assert similarity(vectors, [(a, b, -value) for a, b, value in pairs]).value == pytest.approx(-1.0)


def test_too_few_known_words_give_no_figure() -> None:
    assert np.isnan(similarity(square(), [("x", "y", 1.0)]).value)
    assert np.isnan(analogies(square(), [("x", "y", "z", "w")]).value)


def test_nearest_words() -> None:
    assert [word for word, _ in square().nearest("king", 2)] == ["queen", "man"]
    with pytest.raises(DataError, match="ghost"):
        square().nearest("ghost")


def test_files_of_questions(tmp_path: Path) -> None:
    pairs, questions = tmp_path / "pairs.csv", tmp_path / "questions.txt"
    pairs.write_text("word1,word2,score\ntiger,cat,7.35\n狗\t猫\t6\n\n", "utf-8")
    assert read_similarities(pairs) == [("tiger", "cat", 7.35), ("狗", "猫", 6.0)]
    questions.write_text(": capital-common-countries\nAthens Greece Oslo Norway\n", "utf-8")
    assert read_analogies(questions) == [("Athens", "Greece", "Oslo", "Norway")]
    pairs.write_text("tiger,cat,7.35\ndog,cat\n", "utf-8")
    with pytest.raises(DataError, match=r"pairs.csv:2: expected two words and a number"):
        read_similarities(pairs)
    with pytest.raises(DataError, match="Cannot read"):
        read_analogies(tmp_path / "none.txt")


def test_the_built_in_lists_are_sound() -> None:
    for pairs in (vector_lists.SIMILARITIES_EN, vector_lists.SIMILARITIES_ZH):
        assert all(0 <= value <= 10 and a != b for a, b, value in pairs)
        assert len({frozenset(pair[:2]) for pair in pairs}) == len(pairs)
    for questions in (vector_lists.ANALOGIES_EN, vector_lists.ANALOGIES_ZH):
        assert all(len(set(question)) == 4 for question in questions)

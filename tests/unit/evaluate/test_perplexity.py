import math
from collections.abc import Sequence

import numpy as np
import pytest

from hanlin.base.errors import DataError, TrainingError
from hanlin.evaluate.perplexity import HeldOut, score, uniform


class Fixed:
    """A model that gives every token the same log-probability, and the end of a document another."""

    def __init__(self, token: float, end: float) -> None:
        self.token, self.end = token, end

    def __call__(self, documents: Sequence[np.ndarray], /) -> list[np.ndarray]:
        return [np.array([self.token] * (len(ids) - 1) + [self.end]) for ids in documents]


def test_a_uniform_model_has_perplexity_v_whatever_the_length_of_the_text() -> None:
    for count in (1, 20, 333):
        scores = score(uniform(1000), [HeldOut("x" * count, np.arange(count) % 7 + 1)], eos_id=0)
        assert scores.perplexity == pytest.approx(1000, rel=1e-12)


def test_probability_point_nine_throughout_gives_one_over_point_nine() -> None:
    scores = score(Fixed(math.log(0.9), math.log(0.9)), [HeldOut("abc", [1, 2, 3])], eos_id=0)
    assert scores.perplexity == pytest.approx(1 / 0.9, rel=1e-12)


def test_known_answer_with_chinese_text_and_the_end_counted() -> None:
    """Five tokens and two ends at 2 bits and 3 bits: 16 bits over 11 bytes and 5 characters, 7 tokens."""
    documents = [HeldOut("翰林院", [5, 6, 7]), HeldOut("ab", [8, 9])]
    scores = score(Fixed(-2 * math.log(2), -3 * math.log(2)), documents, eos_id=0)
    assert scores.tokens_D.tolist() == [4, 3]
    assert scores.bytes_D.tolist() == [9, 2]
    assert scores.bits_per_byte == pytest.approx(16 / 11, rel=1e-12)
    assert scores.bits_per_character == pytest.approx(16 / 5, rel=1e-12)
    assert scores.perplexity == pytest.approx(2 ** (16 / 7), rel=1e-12)


def test_an_empty_document_among_others_counts_only_its_end() -> None:
    scores = score(Fixed(-1.0, -2.0), [HeldOut("", []), HeldOut("a", [1])], eos_id=0)
    assert scores.nll_D.tolist() == [2.0, 3.0]
    assert scores.bits_per_byte == pytest.approx(5 / math.log(2))


@pytest.mark.parametrize("documents", [[], [HeldOut("", [])]])
def test_no_text_is_an_error(documents: list[HeldOut]) -> None:
    with pytest.raises(DataError, match="no text"):
        score(uniform(10), documents, eos_id=0)


@pytest.mark.parametrize("wrong", [math.nan, -math.inf, math.inf, 0.5])
def test_what_is_not_a_probability_is_an_error_that_names_the_place(wrong: float) -> None:
    with pytest.raises(TrainingError, match="token 0 at position 2"):
        score(Fixed(-1.0, wrong), [HeldOut("ab", [1, 2])], eos_id=0)


def test_a_perplexity_too_large_for_a_float_is_infinite() -> None:
    assert score(Fixed(-800.0, -800.0), [HeldOut("a", [1])], eos_id=0).perplexity == math.inf

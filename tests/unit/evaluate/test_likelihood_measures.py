"""Perplexity and bits, by hand and against `Scores`."""

import numpy as np
import pytest

from hanlin.evaluate.likelihood import likelihood_measures
from hanlin.evaluate.perplexity import Scores


def test_equal_to_those_of_documents() -> None:
    nll, tokens, size, characters = (np.array(one) for one in ([4.0, 9.0], [3, 5], [12, 20], [4, 20]))
    values = {one.name: one.value for one in likelihood_measures(nll, tokens, size, characters)}
    scores = Scores(nll, tokens, size, characters)
    assert values == pytest.approx({name: getattr(scores, name) for name in values})
    assert set(values) == {"bits_per_byte", "perplexity", "bits_per_character"}


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary() -> None:
    bits, perplexity = likelihood_measures(np.log(8) * np.array([2, 6]), [2, 6], [6, 18])
    assert perplexity.value == pytest.approx(8)
    assert bits.value == pytest.approx(1)  # 3 bits a token of 3 bytes
    assert perplexity.of(np.array([1, 1])) == pytest.approx(8)


def test_what_is_too_large_for_a_number_is_still_a_number() -> None:
    assert np.isfinite(likelihood_measures([1e6], [1], [1])[1].value)

import numpy as np

from hanlin.evaluate.bootstrap import bits_per_byte_interval, difference_interval
from hanlin.evaluate.perplexity import Scores


def scores_of(nll_D: np.ndarray, bytes_D: np.ndarray) -> Scores:
    return Scores(nll_D, bytes_D // 3 + 1, bytes_D, bytes_D)


def drawn(generator: np.random.Generator, documents: int) -> Scores:
    """Documents of uneven length and difficulty; the true figure is 1 nat a byte, 1 / ln 2 bits."""
    bytes_D = generator.integers(50, 1000, size=documents)
    return scores_of(bytes_D * generator.normal(1.0, 0.2, size=documents), bytes_D)


def test_the_interval_holds_the_truth_nineteen_times_in_twenty() -> None:
    generator = np.random.default_rng(11)
    truth, trials, held = 1 / np.log(2), 200, 0
    for _ in range(trials):
        interval = bits_per_byte_interval(drawn(generator, 60), resamples=400)
        assert interval is not None
        held += interval.low <= truth <= interval.high
    assert 0.90 < held / trials < 0.985


def test_pairing_sees_a_difference_that_two_intervals_would_hide() -> None:
    generator = np.random.default_rng(5)
    first = drawn(generator, 40)
    second = scores_of(first.nll_D * 1.01, first.bytes_D)
    paired = difference_interval(first, second)
    alone, other = bits_per_byte_interval(first), bits_per_byte_interval(second)
    assert paired is not None
    assert alone is not None
    assert other is not None
    assert paired.high < 0
    assert other.low < alone.high


def test_no_difference_has_an_interval_around_zero() -> None:
    generator = np.random.default_rng(6)
    first = drawn(generator, 50)
    second = scores_of(generator.permutation(first.nll_D / first.bytes_D) * first.bytes_D, first.bytes_D)
    interval = difference_interval(first, second)
    assert interval is not None
    assert interval.low < 0 < interval.high


def test_a_seed_gives_the_same_interval() -> None:
    scores = drawn(np.random.default_rng(7), 30)
    assert bits_per_byte_interval(scores, seed=1) == bits_per_byte_interval(scores, seed=1)
    assert bits_per_byte_interval(scores, seed=1) != bits_per_byte_interval(scores, seed=2)


def test_one_document_has_no_interval() -> None:
    scores = scores_of(np.array([3.0]), np.array([4]))
    assert bits_per_byte_interval(scores) is None
    assert difference_interval(scores, scores) is None


def test_resamples_of_nothing_but_empty_documents_are_left_out() -> None:
    interval = bits_per_byte_interval(scores_of(np.array([1.0, 8.0]), np.array([0, 4])))
    assert interval is not None
    assert np.isfinite([interval.low, interval.high]).all()

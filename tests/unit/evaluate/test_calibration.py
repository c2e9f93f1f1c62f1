"""Bins by hand, and temperatures that were put in and are found again."""

import numpy as np
import pytest

from hanlin.evaluate.calibration import calibration_error, fit_temperature, reliability, with_temperature


def test_bins_by_hand() -> None:
    bins = reliability([0.0, 0.2, 0.21, 0.4, 1.0], [0, 1, 1, 0, 1], bins=5)
    assert [(one.n, one.confidence, one.accuracy) for one in bins] == [
        (2, pytest.approx(0.1), 0.5),
        (2, pytest.approx(0.305), 0.5),
        (1, 1, 1),
    ]
    assert [(one.low, one.high) for one in bins] == [(0, 0.2), (0.2, 0.4), (0.8, 1)]


def test_error_is_the_gap_of_each_bin_weighed_by_its_size() -> None:
    measure = calibration_error([0.0, 0.2, 0.21, 0.4, 1.0], [0, 1, 1, 0, 1], bins=5)
    assert measure.value == pytest.approx((2 * 0.4 + 2 * 0.195 + 0) / 5)
    assert measure.of(np.array([1, 1, 4])) == pytest.approx((2 * 0.8 + 0) / 3)


def drawn(temperature: float, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Classes drawn with softmax(logits / temperature)."""
    generator = np.random.default_rng(3)
    logits_NK = generator.normal(0, 3, (n, 4))
    p_NK = with_temperature(logits_NK, temperature)
    return logits_NK, (p_NK.cumsum(axis=1) < generator.random((n, 1))).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(temperature: float) -> None:
    logits_NK, truth_N = drawn(temperature)
    fitted = fit_temperature(logits_NK, truth_N)
    assert fitted == pytest.approx(temperature, rel=0.07)
    log_p_NK = np.log(with_temperature(logits_NK, 1.7))
    assert fit_temperature(log_p_NK, truth_N) == pytest.approx(fitted / 1.7)


def test_it_lowers_log_loss_and_calibration_error_and_changes_no_prediction() -> None:
    logits_NK, truth_N = drawn(3.0)
    row_N = np.arange(len(truth_N))

    def figures(temperature: float) -> tuple[float, float]:
        p_NK = with_temperature(logits_NK, temperature)
        right_N = p_NK.argmax(axis=1) == truth_N
        return -np.log(p_NK[row_N, truth_N]).mean(), calibration_error(p_NK.max(axis=1), right_N).value

    fitted = fit_temperature(logits_NK, truth_N)
    assert (with_temperature(logits_NK, fitted).argmax(axis=1) == logits_NK.argmax(axis=1)).all()
    assert figures(fitted)[1] < 0.03 < 0.2 < figures(1.0)[1]
    losses = [figures(fitted * factor)[0] for factor in (1, 0.9, 1.1, 1 / fitted)]
    assert min(losses) == losses[0]


def test_probabilities_of_exactly_zero_or_one_do_not_break_it() -> None:
    with np.errstate(divide="ignore"):
        logits_NK = np.log(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
    assert fit_temperature(logits_NK, [0, 1, 0]) == pytest.approx(
        0.01, rel=0.1
    )  # always right: as sure as it may be
    assert fit_temperature(logits_NK, [0, 1, 1]) == pytest.approx(100, rel=0.1)

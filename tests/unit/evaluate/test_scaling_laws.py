"""The fit finds the constants that made the data, and predicts runs that it has not seen."""

import itertools
import math

import numpy as np
import pytest

from hanlin.base.errors import DataError
from hanlin.evaluate.scaling import Run, fit_scaling

SIZES = (1e5, 2e5, 4e5, 7e5, 1.2e6, 2e6, 3.5e6, 5e6)
LENGTHS = (2e5, 4e5, 8e5)
TRUTH = {"E": 1.7, "A": 120.0, "a": 0.35, "B": 400.0, "b": 0.45}


def law(size: float, length: float, over_tokens: bool = True) -> float:
    data = TRUTH["B"] / length ** TRUTH["b"] if over_tokens else 0.0
    return TRUTH["E"] + TRUTH["A"] / size ** TRUTH["a"] + data


def runs(over_tokens: bool, noise: float = 0.0, seed: int = 0) -> list[Run]:
    chance = np.random.default_rng(seed)
    lengths = LENGTHS if over_tokens else LENGTHS[-1:]
    return [
        Run(parameters=n, tokens=d, loss=law(n, d, over_tokens) * math.exp(noise * chance.standard_normal()))
        for n, d in itertools.product(SIZES, lengths)
    ]


@pytest.mark.parametrize("over_tokens", [True, False])
def test_known_constants_are_found_again(over_tokens: bool) -> None:
    fitted = fit_scaling(runs(over_tokens), over_tokens, resamples=10)
    assert fitted.over_tokens == over_tokens
    for name, value in fitted.constants.items():
        assert value == pytest.approx(TRUTH[name], rel=1e-3), name
    assert fitted.loss(2e7, 4e6) == pytest.approx(law(2e7, 4e6, over_tokens), rel=1e-5)


@pytest.mark.parametrize("over_tokens", [True, False])
def test_intervals_hold_a_new_run_about_as_often_as_they_say(over_tokens: bool) -> None:
    held, chance = 0, np.random.default_rng(99)
    for seed in range(12):
        fitted = fit_scaling(runs(over_tokens, noise=0.01, seed=seed), over_tokens, resamples=60)
        inside = fitted.predict(1e7, LENGTHS[-1]).interval
        new = law(1e7, LENGTHS[-1], over_tokens) * math.exp(0.01 * chance.standard_normal())
        held += inside.low <= new <= inside.high
        assert inside.high < 1.5 * inside.low
    assert held >= 9


def test_one_wild_run_hardly_moves_the_law() -> None:
    wild = [
        run if index != 5 else run.model_copy(update={"loss": 9.0}) for index, run in enumerate(runs(True))
    ]
    assert fit_scaling(wild, resamples=10).loss(1e7, 8e5) == pytest.approx(law(1e7, 8e5), rel=5e-3)


def test_the_same_runs_give_the_same_law() -> None:
    first, second = (fit_scaling(runs(True, noise=0.01), resamples=50) for _ in range(2))
    assert first.constants == second.constants
    assert first.intervals == second.intervals


@pytest.mark.parametrize(
    ("chosen", "over_tokens"),
    [(runs(False)[:3], False), (runs(False), True), ([runs(False)[0]] * 9, False)],
)
def test_too_few_different_runs_are_refused(chosen: list[Run], over_tokens: bool) -> None:
    with pytest.raises(DataError, match="too few"):
        fit_scaling(chosen, over_tokens)

"""Scaling laws: how the loss falls with parameters and tokens, fitted to runs, and what follows for another run.

    L(N, D) = E + A / N^a + B / D^b        (Hoffmann et al. 2022, arXiv 2203.15556, eq. 2; L(N) is the same without B)

with the loss L in nats, N parameters, D tokens learned from. As there (section D.2), the fit minimises the sum of
Huber losses of log L^ - log L, where log L^ = logsumexp(e, log A - a log N, log B - b log D), from many starts; here by
Levenberg–Marquardt steps with Huber weights (Holland & Welsch 1977) on all starts at once, in float64: no random numbers.
Intervals are a bootstrap of residuals (Efron & Tibshirani 1993, section 9.4): runs are designed, not drawn.

Shape suffixes: R runs, P parameters (e, log A, a, and log B, b), S starts or resamples.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.evaluate.results import Interval

Floats = NDArray[np.float64]

DELTA = 1e-3
"""Residuals beyond it count linearly (arXiv 2203.15556, section D.2)."""
_STEPS = 120
_EXPONENTS = (0.1, 0.3, 0.6, 1.0)
_FLOORS = (0.1, 0.5, 0.9)
"""Starts: exponents, and E as a share of the lowest loss."""


class Run(BaseModel):
    """One trained model: parameters, tokens that it learned from, loss in nats."""

    model_config = ConfigDict(frozen=True)

    parameters: float
    tokens: float
    loss: float


class Prediction(BaseModel):
    """The loss that a law gives a run, and between what it lies for 95 of 100 runs of that size."""

    model_config = ConfigDict(frozen=True)

    loss: float
    interval: Interval


@dataclass(frozen=True)
class ScalingLaw:
    """A fitted law: its constants by name with 95 % intervals, and the standard deviation of log-residuals."""

    constants: dict[str, float]
    intervals: dict[str, Interval]
    deviation: float
    _theta_P: Floats = field(repr=False)
    _thetas_SP: Floats = field(repr=False)
    _residuals_R: Floats = field(repr=False)
    _seed: int = 0

    @property
    def over_tokens(self) -> bool:
        """Whether the law has the term of the tokens."""
        return len(self._theta_P) == 5

    def loss(self, parameters: float, tokens: float) -> float:
        """The loss of a run, in nats."""
        (loss,) = np.exp(_log_loss(self._theta_P[None], _inputs([(parameters, tokens)]))[0])
        return float(loss)

    def predict(self, parameters: float, tokens: float) -> Prediction:
        """The loss of a run that was not fitted: the interval holds the doubt about the law and a run's own chance."""
        inputs_R2 = _inputs([(parameters, tokens)])
        chance_S = np.random.default_rng(self._seed).choice(self._residuals_R, len(self._thetas_SP))
        losses_S = np.exp(_log_loss(self._thetas_SP, inputs_R2)[:, 0] + chance_S)
        return Prediction(loss=self.loss(parameters, tokens), interval=_interval(losses_S))


def fit_scaling(
    runs: Sequence[Run], over_tokens: bool = True, resamples: int = 500, seed: int = 0
) -> ScalingLaw:
    """Fit L(N, D), or L(N) to runs of equally many tokens.

    Raises `DataError` where there are too few different sizes (or numbers of tokens) for a term with two constants
    beside E: three, and one run more than constants.
    """
    _check(runs, over_tokens)
    inputs_R2 = _inputs([(run.parameters, run.tokens) for run in runs])
    losses_R = np.log([run.loss for run in runs])
    starts_SP = _starts(inputs_R2, losses_R, over_tokens)
    thetas_SP, objective_S = _minimise(
        starts_SP, inputs_R2, np.broadcast_to(losses_R, (len(starts_SP), len(runs)))
    )
    theta_P = thetas_SP[objective_S.argmin()]
    fitted_R = _log_loss(theta_P[None], inputs_R2)[0]
    free = len(runs) - len(theta_P)
    residuals_R = (losses_R - fitted_R) * math.sqrt(len(runs) / free)
    drawn_SR = np.random.default_rng(seed).choice(residuals_R, (resamples, len(runs)))
    again_SP, _ = _minimise(np.tile(theta_P, (resamples, 1)), inputs_R2, fitted_R + drawn_SR)
    ends = {name: _interval(values_S) for name, values_S in _constants(again_SP).items()}
    return ScalingLaw(
        constants={name: float(values[0]) for name, values in _constants(theta_P[None]).items()},
        intervals=ends,
        deviation=float(residuals_R.std()),
        _theta_P=theta_P,
        _thetas_SP=again_SP,
        _residuals_R=residuals_R,
        _seed=seed,
    )


def _check(runs: Sequence[Run], over_tokens: bool) -> None:
    needed = 6 if over_tokens else 4
    sizes, lengths = {run.parameters for run in runs}, {run.tokens for run in runs}
    if len(runs) >= needed and len(sizes) >= 3 and (not over_tokens or len(lengths) >= 3):
        return
    what = (
        Text("numbers of parameters and of tokens", "参数量与词元数")
        if over_tokens
        else Text("numbers of parameters", "参数量")
    )
    raise DataError(
        Text(f"{len(runs)} finished runs with {len(sizes)} different numbers of parameters and {len(lengths)} of tokens "
             "are too few for a scaling law.",
             f"完成的 {len(runs)} 次训练只有 {len(sizes)} 种参数量、{len(lengths)} 种词元数，不足以拟合缩放律。"),
        Text(f"Give at least {needed} runs and three different {what.en}.", f"请至少给出 {needed} 次训练和三种不同的{what.zh}。"),
    )  # fmt: skip


def _inputs(sizes: Sequence[tuple[float, float]]) -> Floats:
    """log N and log D of each run."""
    return np.log(np.array(sizes, np.float64))


def _terms(theta_SP: Floats, inputs_R2: Floats) -> Floats:
    """The logs of E, A / N^a and B / D^b: S x R x (2 or 3)."""
    S, R = len(theta_SP), len(inputs_R2)
    terms = [np.broadcast_to(theta_SP[:, :1], (S, R))]
    for column in range((theta_SP.shape[1] - 1) // 2):
        log_factor, exponent = theta_SP[:, 1 + 2 * column, None], theta_SP[:, 2 + 2 * column, None]
        terms.append(log_factor - exponent * inputs_R2[:, column])
    return np.stack(terms, -1)


def _log_loss(theta_SP: Floats, inputs_R2: Floats) -> Floats:
    """log L^ of each run under each setting of the constants: S x R."""
    logs: Floats = np.logaddexp.reduce(_terms(theta_SP, inputs_R2), -1)
    return logs


def _jacobian(theta_SP: Floats, inputs_R2: Floats) -> Floats:
    """d log L^ / d theta: S x R x P; each term's share of L^, times what its log is differentiated to."""
    terms = _terms(theta_SP, inputs_R2)
    shares = np.exp(terms - np.logaddexp.reduce(terms, -1)[..., None])
    columns = [shares[..., 0]]
    for column in range(terms.shape[-1] - 1):
        columns += [shares[..., column + 1], -shares[..., column + 1] * inputs_R2[:, column]]
    return np.stack(columns, -1)


def _huber(residuals_SR: Floats) -> Floats:
    size = np.abs(residuals_SR)
    losses: Floats = np.where(size <= DELTA, size**2 / 2, DELTA * (size - DELTA / 2)).sum(-1)
    return losses


def _minimise(theta_SP: Floats, inputs_R2: Floats, losses_SR: Floats) -> tuple[Floats, Floats]:
    """Constants and Huber loss that each start leads to. A step is taken only where it lowers the loss."""
    theta_SP = theta_SP.copy()
    damping_S = np.full(len(theta_SP), 1e-2)
    identity = np.eye(theta_SP.shape[1])
    residuals_SR = _log_loss(theta_SP, inputs_R2) - losses_SR
    objective_S = _huber(residuals_SR)
    for _ in range(_STEPS):
        jacobian_SRP = _jacobian(theta_SP, inputs_R2)
        weighted_SRP = jacobian_SRP * (DELTA / np.maximum(np.abs(residuals_SR), DELTA))[..., None]
        gradient_SP = np.einsum("srp,sr->sp", weighted_SRP, residuals_SR)
        hessian_SPP = np.einsum("srp,srq->spq", weighted_SRP, jacobian_SRP)
        scale_SPP = identity * (np.einsum("spp->sp", hessian_SPP)[..., None] + 1e-12)
        step_SP = -np.linalg.solve(
            hessian_SPP + damping_S[:, None, None] * scale_SPP, gradient_SP[..., None]
        )[..., 0]
        tried_SP = theta_SP + np.clip(step_SP, -5, 5)
        tried_SR = _log_loss(tried_SP, inputs_R2) - losses_SR
        tried_S = _huber(tried_SR)
        better_S = tried_S < objective_S
        theta_SP = np.where(better_S[:, None], tried_SP, theta_SP)
        residuals_SR = np.where(better_S[:, None], tried_SR, residuals_SR)
        objective_S = np.where(better_S, tried_S, objective_S)
        damping_S = np.clip(np.where(better_S, damping_S / 3, damping_S * 2), 1e-9, 1e9)
    return theta_SP, objective_S


def _starts(inputs_R2: Floats, losses_R: Floats, over_tokens: bool) -> Floats:
    """A grid of exponents and floors; the factors share what the mean loss leaves above the floor."""
    middle_2, mean, lowest = inputs_R2.mean(0), math.exp(losses_R.mean()), math.exp(losses_R.min())
    terms = 2 if over_tokens else 1
    starts = []
    for floor, *exponents in itertools.product(_FLOORS, *[_EXPONENTS] * terms):
        start = [math.log(floor * lowest)]
        for exponent, middle in zip(exponents, middle_2, strict=False):
            start += [math.log((mean - floor * lowest) / terms) + exponent * middle, exponent]
        starts.append(start)
    return np.array(starts)


def _constants(theta_SP: Floats) -> dict[str, Floats]:
    """The constants under the names of the equation."""
    names = ("E", "A", "a", "B", "b")
    with np.errstate(over="ignore"):
        return {
            name: theta_SP[:, index] if name in "ab" else np.exp(theta_SP[:, index])
            for index, name in enumerate(names[: theta_SP.shape[1]])
        }


def _interval(values_S: Floats) -> Interval:
    low, high = np.percentile(values_S, [2.5, 97.5])
    return Interval(low=float(low), high=float(high))

"""The only training loop. Objectives with their data and the way to save are passed in."""

import time
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Literal

import torch
from rich.progress import Progress

from hanlin.base.device import Compute
from hanlin.base.distributed import any_says
from hanlin.base.interrupt import interruptible
from hanlin.base.progress import progress_bar
from hanlin.base.sinks import MetricSink
from hanlin.objective.mixture import Mixture
from hanlin.trainer.average import begin_average, update_average
from hanlin.trainer.config import TrainingConfig
from hanlin.trainer.guard import check_divergence, chosen_metric, spike_guard, watch_gap
from hanlin.trainer.learner import Learner, prepare_memory
from hanlin.trainer.loss_scale import LossScale
from hanlin.trainer.optimizer import set_rate
from hanlin.trainer.schedule import rate_share
from hanlin.trainer.state import Best, TrainState
from hanlin.trainer.step import StepResult, training_step
from hanlin.trainer.validate import validate

Ending = Literal["finished", "early stop", "interrupted"]


def train(
    state: TrainState,
    mixture: Mixture,
    config: TrainingConfig,
    compute: Compute,
    *,
    save: Callable[[TrainState], None],
    sinks: Sequence[MetricSink],
    peak_rate: float,
    title: str = "pretrain",
) -> Ending:
    """Train from wherever `state` stands to `config.steps`, validating and saving on the way.

    `save` is called with the state on its cadence, at each new best, at the end and when interrupted. Within it the
    model has the weights to be kept; those that go on training are among the tensors of the state.
    `peak_rate`: tokens a second at which training would run at the full speed of this machine's matrix products.
    Raises `TrainingError` at a step that is not finite (no weight changed by it) and for a run that diverges, `DiskError`
    from `save`.
    """
    if _is_exhausted(state, config):  # it had stopped early, and was killed before it was finished
        return "early stop"
    learner = _prepare(state, config, compute)
    stream = mixture.stream(state.taken)
    meter = _Meter(state, peak_rate, several=len(mixture.parts) > 1)
    with interruptible() as interrupt, progress_bar() as bar:
        task = bar.add_task(title, total=config.steps, completed=state.step, detail="")
        while state.step < config.steps:
            part, batch, taken = next(stream)
            share = rate_share(state.step, config)
            set_rate(state.optimizers, share)
            last = state.step + 1 == config.steps
            looked = (state.step + 1) % config.evaluate_every == 0 or last
            logged = (state.step + 1) % config.log_every == 0 or looked
            result = training_step(
                learner,
                part.objective,
                state.optimizers,
                batch,
                compute,
                micro_rows=config.rows_at_once,
                clip=config.clip,
                on_nonfinite=config.on_nonfinite,
                scale=state.loss_scale,
                refuse=spike_guard(state, part.name, config),
                watch=logged,
            )
            state.taken = taken
            astray = _advance(state, part.name, result, config)
            stopping = any_says(interrupt.requested)
            meter.add(part.name, result)
            improved = exhausted = False
            if logged:
                metrics = meter.read(state, share) | dict(result.norms)
                if looked:
                    with state.examined_weights(learner, config.ema_use != "model"):
                        metrics |= validate(learner, mixture, config.validation_rows, compute)
                    watch_gap(state, metrics["valid_loss"])
                    improved = _note_validation(state, chosen_metric(metrics, config), config)
                    exhausted = _is_exhausted(state, config)
                for sink in sinks:
                    sink.write(state.step, metrics)
                _show(bar, task, state, metrics)
                meter.restart(state)
            due = state.step % config.save_every == 0 and not astray
            if improved or last or exhausted or stopping or due:
                with state.examined_weights(learner, config.ema_use != "validation"):
                    save(state)
                meter.restart(state)
            if stopping:
                return "interrupted"
            if exhausted:
                return "early stop"
    return "finished"


def _prepare(state: TrainState, config: TrainingConfig, compute: Compute) -> Learner:
    """What trains, and what a new state lacks for this configuration."""
    if config.ema is not None and state.average is None:
        state.average = begin_average(state.model)
    if compute.precision == torch.float16 and state.loss_scale is None:
        state.loss_scale = LossScale()
    prepare_memory(state.model, config)
    state.model.train()
    return state.learner or Learner(state.model)


def _advance(state: TrainState, part: str, result: StepResult, config: TrainingConfig) -> bool:
    """Take note of a step; whether its loss is far above where it was, so that this is no time to save.

    Raises `TrainingError` when it has been so for long.
    """
    state.step, state.tokens = state.step + 1, state.tokens + result.tokens
    state.skipped += not result.updated
    if result.updated and state.average is not None and config.ema is not None:
        update_average(state.average, state.model, config.ema, state.step)
    losses = state.health.of(part)
    losses.add(result.loss, config.spike_window)
    state.health.gap.add(result.loss)
    check_divergence(state, losses, config)
    return losses.astray and config.on_divergence == "stop"


def _note_validation(state: TrainState, value: float, config: TrainingConfig) -> bool:
    """Rank this checkpoint by its metric; whether it is among those to keep. Counts validations without a new best."""
    sign = 1 if config.better == "lower" else -1
    several = config.average is not None and config.average.of == "best"
    most = config.average.checkpoints if config.average and several else 1
    state.stale = state.stale + 1 if state.best and sign * value >= sign * state.best[0].value else 0
    ranked = sorted([*state.best, Best(value, state.step)], key=lambda best: (sign * best.value, best.step))
    state.best = ranked[:most]
    return any(best.step == state.step for best in state.best)


def _is_exhausted(state: TrainState, config: TrainingConfig) -> bool:
    """Whether so many validations brought no new best that the run stops early."""
    return config.patience is not None and state.stale >= config.patience


def _show(bar: Progress, task: int, state: TrainState, metrics: dict[str, float]) -> None:
    parts = [f"loss {metrics['loss']:.3f}", f"{metrics['tokens_per_second']:,.0f} tok/s"]
    parts.append(f"{metrics['peak_share']:.0%} of peak")
    if state.best_value is not None:
        parts.append(f"best {state.best_value:.3f}")
    bar.update(task, completed=state.step, detail="  ".join(parts))  # type: ignore[arg-type]


class _Meter:
    """Mean loss, of each part of a mixture too, and speed since the last line of metrics."""

    def __init__(self, state: TrainState, peak_rate: float, several: bool) -> None:
        self.peak_rate, self._several = peak_rate, several
        self._losses: list[tuple[str, float]] = []
        self._norm = 0.0
        self.restart(state)

    def restart(self, state: TrainState) -> None:
        """Begin timing anew, so that validation and saving do not count as training."""
        self._start, self._tokens = time.perf_counter(), state.tokens

    def add(self, part: str, result: StepResult) -> None:
        """Take one step's result."""
        self._losses.append((part, result.loss))
        self._norm = max(self._norm, result.gradient_norm)

    def read(self, state: TrainState, share: float) -> dict[str, float]:
        """The metrics since the last reading."""
        speed = (state.tokens - self._tokens) / max(1e-9, time.perf_counter() - self._start)
        metrics = {
            "loss": fmean(loss for _, loss in self._losses),
            "gradient_norm": self._norm,
            "rate_share": share,
            "tokens": state.tokens,
            "tokens_per_second": speed,
            "peak_share": speed / self.peak_rate,
            "skipped": state.skipped,
            "spikes": state.health.spikes,
        }
        if self._several:
            for name in dict(self._losses):
                metrics[f"loss.{name}"] = fmean(loss for part, loss in self._losses if part == name)
        self._losses, self._norm = [], 0.0
        self.restart(state)
        return metrics

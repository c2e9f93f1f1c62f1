"""The only training loop. Objectives with their data and the way to save are passed in."""

import time
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Literal

from rich.progress import Progress

from hanlin.base.device import Compute
from hanlin.base.interrupt import interruptible
from hanlin.base.progress import progress_bar
from hanlin.base.sinks import MetricSink
from hanlin.objective.mixture import Mixture
from hanlin.trainer.config import TrainingConfig
from hanlin.trainer.learner import Learner
from hanlin.trainer.optimizer import set_rate
from hanlin.trainer.schedule import rate_share
from hanlin.trainer.state import TrainState
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

    `save` is called with the state on its cadence, at each new best, at the end and when interrupted.
    `peak_rate`: tokens a second at which training would run at the full speed of this machine's matrix products.
    Raises `TrainingError` at a step that is not finite (no weight changed by it), `DiskError` from `save`.
    """
    if _is_exhausted(state, config):  # it had stopped early, and was killed before it was finished
        return "early stop"
    model = state.model.train()
    learner = Learner(model)
    stream = mixture.stream(state.taken)
    meter = _Meter(state, peak_rate, several=len(mixture.parts) > 1)
    with interruptible() as interrupt, progress_bar() as bar:
        task = bar.add_task(title, total=config.steps, completed=state.step, detail="")
        while state.step < config.steps:
            part, batch, taken = next(stream)
            share = rate_share(state.step, config)
            set_rate(state.optimizers, share)
            result = training_step(
                learner,
                part.objective,
                state.optimizers,
                batch,
                compute,
                micro_rows=config.micro_rows or config.batch_rows,
                clip=config.clip,
                on_nonfinite=config.on_nonfinite,
            )
            state.step, state.tokens, state.taken = state.step + 1, state.tokens + batch.tokens, taken
            state.skipped += not result.updated
            meter.add(part.name, result)
            last = state.step == config.steps
            looked = state.step % config.evaluate_every == 0 or last
            if state.step % config.log_every == 0 or looked:
                metrics = meter.read(state, share)
                if looked:
                    metrics |= validate(model, mixture, config.validation_rows, compute)
                    meter.restart(state)
                for sink in sinks:
                    sink.write(state.step, metrics)
                _show(bar, task, state, metrics)
            improved = looked and _note_validation(state, float(metrics["valid_loss"]))
            exhausted = looked and _is_exhausted(state, config)
            if improved or last or exhausted or interrupt.requested or state.step % config.save_every == 0:
                save(state)
                meter.restart(state)
            if interrupt.requested:
                return "interrupted"
            if exhausted:
                return "early stop"
    return "finished"


def _note_validation(state: TrainState, loss: float) -> bool:
    """Remember a new best; count validations that brought none."""
    if state.best_loss is None or loss < state.best_loss:
        state.best_loss, state.best_step, state.stale = loss, state.step, 0
        return True
    state.stale += 1
    return False


def _is_exhausted(state: TrainState, config: TrainingConfig) -> bool:
    """Whether so many validations brought no new best that the run stops early."""
    return config.patience is not None and state.stale >= config.patience


def _show(bar: Progress, task: int, state: TrainState, metrics: dict[str, float]) -> None:
    parts = [f"loss {metrics['loss']:.3f}", f"{metrics['tokens_per_second']:,.0f} tok/s"]
    parts.append(f"{metrics['peak_share']:.0%} of peak")
    if state.best_loss is not None:
        parts.append(f"valid {state.best_loss:.3f}")
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
        }
        if self._several:
            for name in dict(self._losses):
                metrics[f"loss.{name}"] = fmean(loss for part, loss in self._losses if part == name)
        self._losses, self._norm = [], 0.0
        self.restart(state)
        return metrics

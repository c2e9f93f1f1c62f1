"""The only training loop. Objective, data and the way to save are passed in."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.progress import Progress

from hanlin.base.device import Compute
from hanlin.base.interrupt import interruptible
from hanlin.base.progress import progress_bar
from hanlin.base.sinks import MetricSink
from hanlin.batches.loader import Rows
from hanlin.objective.term import Objective
from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.optimizer import set_rate
from hanlin.trainer.schedule import rate_share
from hanlin.trainer.state import TrainState
from hanlin.trainer.step import StepResult, training_step
from hanlin.trainer.validate import validation_loss

Ending = Literal["finished", "early stop", "interrupted"]


def train(
    state: TrainState,
    objective: Objective,
    rows: Rows,
    held_out: Rows,
    config: PretrainConfig,
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
    stream = rows.stream(state.loader)
    meter = _Meter(state, peak_rate)
    with interruptible() as interrupt, progress_bar() as bar:
        task = bar.add_task(title, total=config.steps, completed=state.step, detail="")
        while state.step < config.steps:
            batch, loader = next(stream)
            share = rate_share(state.step, config)
            set_rate(state.optimizers, share)
            result = training_step(
                model,
                objective,
                state.optimizers,
                batch,
                compute,
                micro_rows=config.micro_rows or config.batch_rows,
                clip=config.clip,
                on_nonfinite=config.on_nonfinite,
            )
            state.step, state.tokens, state.loader = (
                state.step + 1,
                state.tokens + batch.tokens_BT.numel(),
                loader,
            )
            state.skipped += not result.updated
            meter.add(result)
            last = state.step == config.steps
            validate = state.step % config.evaluate_every == 0 or last
            if state.step % config.log_every == 0 or validate:
                metrics = meter.read(state, share)
                if validate:
                    metrics["valid_loss"] = validation_loss(
                        model, objective, held_out, config.validation_rows, compute
                    )
                    meter.restart(state)
                for sink in sinks:
                    sink.write(state.step, metrics)
                _show(bar, task, state, metrics)
            improved = validate and _note_validation(state, float(metrics["valid_loss"]))
            exhausted = validate and _is_exhausted(state, config)
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


def _is_exhausted(state: TrainState, config: PretrainConfig) -> bool:
    """Whether so many validations brought no new best that the run stops early."""
    return config.patience is not None and state.stale >= config.patience


def _show(bar: Progress, task: int, state: TrainState, metrics: dict[str, float]) -> None:
    parts = [f"loss {metrics['loss']:.3f}", f"{metrics['tokens_per_second']:,.0f} tok/s"]
    parts.append(f"{metrics['peak_share']:.0%} of peak")
    if state.best_loss is not None:
        parts.append(f"valid {state.best_loss:.3f}")
    bar.update(task, completed=state.step, detail="  ".join(parts))  # type: ignore[arg-type]


@dataclass
class _Meter:
    """Mean loss and speed since the last line of metrics."""

    state: TrainState
    peak_rate: float
    loss: float = 0.0
    steps: int = 0
    norm: float = 0.0

    def __post_init__(self) -> None:
        self.restart(self.state)

    def restart(self, state: TrainState) -> None:
        """Begin timing anew, so that validation and saving do not count as training."""
        self._start, self._tokens = time.perf_counter(), state.tokens

    def add(self, result: StepResult) -> None:
        """Take one step's result."""
        self.loss, self.norm, self.steps = (
            self.loss + result.loss,
            max(self.norm, result.gradient_norm),
            self.steps + 1,
        )

    def read(self, state: TrainState, share: float) -> dict[str, float]:
        """The metrics since the last reading."""
        speed = (state.tokens - self._tokens) / max(1e-9, time.perf_counter() - self._start)
        metrics = {
            "loss": self.loss / self.steps,
            "gradient_norm": self.norm,
            "rate_share": share,
            "tokens": state.tokens,
            "tokens_per_second": speed,
            "peak_share": speed / self.peak_rate,
            "skipped": state.skipped,
        }
        self.loss, self.norm, self.steps = 0.0, 0.0, 0
        self.restart(state)
        return metrics

"""`TrainState`: everything that a resumed run needs, in one place."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hanlin.base.distributed import gathered, part_ways, rank
from hanlin.base.seeds import capture_random_state, restore_random_state
from hanlin.trainer.average import schedule_free_weights, standing_in
from hanlin.trainer.health import Health
from hanlin.trainer.learner import Learner
from hanlin.trainer.loss_scale import LossScale
from hanlin.trainer.optimizer import load_optimizer_tensors, optimizer_tensors
from hanlin.trainer.parallel import laid_out_like

_AVERAGE, _WEIGHTS = "/average", "/weights"
"""Beside the optimizers' quantities: a parameter's moving average, and its value where another one is saved for it."""


class Best(NamedTuple):
    """A checkpoint among the best: the value of the metric that checkpoints are chosen by, and its step."""

    value: float
    step: int


@dataclass
class TrainState:
    """Weights, optimizers, and how far the run has come. Random generators are taken when it is saved."""

    model: nn.Module
    optimizers: list[Optimizer]
    step: int = 0
    tokens: int = 0
    taken: tuple[int, ...] = (0,)
    """Rows that each part of the mixture has taken."""
    best: list[Best] = field(default_factory=list)
    """Checkpoints to keep for their metric, the best first."""
    stale: int = 0
    skipped: int = 0
    average: dict[str, Tensor] | None = None
    """Moving average of the weights, by parameter name, if one is kept."""
    loss_scale: LossScale | None = None
    """In float16 alone."""
    health: Health = field(default_factory=Health)
    learner: Learner | None = None
    """What trains the model if it is not a plain `Learner`: one that is distributed over processes."""

    def __post_init__(self) -> None:
        self._own: dict[str, Tensor] = {}

    @property
    def best_value(self) -> float | None:
        """The best value of the metric so far."""
        return self.best[0].value if self.best else None

    @property
    def best_step(self) -> int:
        """The step of the best checkpoint, 0 before there is one."""
        return self.best[0].step if self.best else 0

    def examined(self, average: bool) -> dict[str, Tensor]:
        """The weights that are validated and saved in place of those that are trained, by name; empty if those are.

        They are the average of a schedule-free optimizer or, with `average`, the moving average.
        """
        if average and self.average is not None:
            return self.average
        return schedule_free_weights(self.model, self.optimizers)

    @contextlib.contextmanager
    def examined_weights(self, learner: Learner, average: bool) -> Iterator[None]:
        """Within it the model has the weights of `examined`."""
        values = self.examined(average)
        if not values:
            yield
            return
        with standing_in(learner, values) as self._own:
            yield
        self._own = {}

    def tensors(self) -> dict[str, Tensor]:
        """Optimizer state by parameter name, averages, and weights that others stand in for.

        The weights that the model has at this moment travel as a model folder beside it.
        """
        averages = {name + _AVERAGE: value for name, value in (self.average or {}).items()}
        own = {name + _WEIGHTS: value for name, value in self._own.items()}
        return {**optimizer_tensors(self.model, self.optimizers), **averages, **own}

    def values(self) -> dict[str, Any]:
        """Everything else, as JSON; of the random generators, those of all processes."""
        random, *others = gathered(capture_random_state())
        return {
            "step": self.step,
            "tokens": self.tokens,
            "rows_taken": self.taken,
            "best": self.best,
            "stale": self.stale,
            "skipped": self.skipped,
            "loss_scale": asdict(self.loss_scale) if self.loss_scale else None,
            "health": self.health.values(),
            "random": random,
            "random_of_others": others,
        }

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Put back what `tensors` and `values` gave; the caller has loaded the weights."""
        others = {key: tensors[key] for key in tensors if key.endswith((_AVERAGE, _WEIGHTS))}
        quantities = {key: value for key, value in tensors.items() if key not in others}
        load_optimizer_tensors(self.model, self.optimizers, quantities)
        self._restore_weights(others)
        self.step, self.tokens = values["step"], values["tokens"]
        rows = values["rows_taken"]
        self.taken = (
            (rows,) if isinstance(rows, int) else tuple(rows)
        )  # one number before there were mixtures
        if "best" in values:
            self.best = [Best(*best) for best in values["best"]]
        elif values["best_loss"] is not None:  # the only one before several could be kept
            self.best = [Best(values["best_loss"], values["best_step"])]
        self.stale, self.skipped = values["stale"], values["skipped"]
        if values.get("loss_scale"):
            self.loss_scale = LossScale(**values["loss_scale"])
        if "health" in values:
            self.health = Health.from_values(values["health"])
        randoms = [values["random"], *values.get("random_of_others", [])]
        if rank() < len(randoms):
            restore_random_state(randoms[rank()])
        else:  # there were fewer processes
            restore_random_state(randoms[0])
            part_ways()

    @torch.no_grad()
    def _restore_weights(self, tensors: dict[str, Tensor]) -> None:
        """Averages, and the weights that are trained where the folder has others."""
        averages = {}
        for name, parameter in self.model.named_parameters():
            if name + _WEIGHTS in tensors:
                parameter.copy_(laid_out_like(tensors[name + _WEIGHTS], parameter))
            if name + _AVERAGE in tensors:
                value = laid_out_like(tensors[name + _AVERAGE], parameter)
                averages[name] = value.to(parameter.device)
        self.average = averages or None

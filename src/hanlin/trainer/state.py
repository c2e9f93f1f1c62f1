"""`TrainState`: everything that a resumed run needs, in one place."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from hanlin.base.seeds import capture_random_state, restore_random_state
from hanlin.trainer.optimizer import load_optimizer_tensors, optimizer_tensors


@dataclass
class TrainState:
    """Weights, optimizers, and how far the run has come. Random generators are taken when it is saved."""

    model: nn.Module
    optimizers: list[Optimizer]
    step: int = 0
    tokens: int = 0
    taken: tuple[int, ...] = (0,)
    """Rows that each part of the mixture has taken."""
    best_loss: float | None = None
    best_step: int = 0
    stale: int = 0
    skipped: int = 0

    def tensors(self) -> dict[str, Tensor]:
        """Optimizer state by parameter name; the weights travel as a model folder beside it."""
        return optimizer_tensors(self.model, self.optimizers)

    def values(self) -> dict[str, Any]:
        """Everything else, as JSON."""
        return {
            "step": self.step,
            "tokens": self.tokens,
            "rows_taken": self.taken,
            "best_loss": self.best_loss,
            "best_step": self.best_step,
            "stale": self.stale,
            "skipped": self.skipped,
            "random": capture_random_state(),
        }

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Put back what `tensors` and `values` gave; the caller has loaded the weights."""
        load_optimizer_tensors(self.model, self.optimizers, tensors)
        self.step, self.tokens = values["step"], values["tokens"]
        rows = values["rows_taken"]
        self.taken = (
            (rows,) if isinstance(rows, int) else tuple(rows)
        )  # one number before there were mixtures
        self.best_loss, self.best_step = values["best_loss"], values["best_step"]
        self.stale, self.skipped = values["stale"], values["skipped"]
        restore_random_state(values["random"])

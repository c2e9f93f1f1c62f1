"""An objective of one task of several on a shared body: a part of a mixture whose model is `MultiTask`."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from hanlin.model.multitask import MultiTask
from hanlin.objective.term import Objective, Ratio


class ForTask(Objective):
    """`objective` of the model of task `name`; the loss of a run is the sum of its tasks', by the weights of its parts."""

    def __init__(self, name: str, objective: Objective) -> None:
        self.name, self.objective = name, objective
        self.whole_batch = objective.whole_batch

    def count(self, batch: Any) -> int:
        """As of the objective."""
        return self.objective.count(batch)

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """As of the objective."""
        return self.objective.loss(self._model(model), batch)

    def examine(self, model: nn.Module, batch: Any) -> Mapping[str, Ratio]:
        """As of the objective."""
        return self.objective.examine(self._model(model), batch)

    def _model(self, model: nn.Module) -> nn.Module:
        assert isinstance(model, MultiTask)
        return model.tasks[self.name]

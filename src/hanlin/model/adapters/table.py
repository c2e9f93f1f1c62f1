"""What of a model trains."""

from collections import Counter
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class TrainedParameter:
    """One trained parameter: its module, its name there, shape, number of values, share of all the model's."""

    module: str
    name: str
    shape: tuple[int, ...]
    parameters: int
    share: float


@dataclass(frozen=True)
class TrainingTable:
    """The trained parameters of a model, and how many values it has in all; `str()` prints it."""

    rows: tuple[TrainedParameter, ...]
    parameters: int

    @property
    def trained(self) -> int:
        """Number of values that train."""
        return sum(row.parameters for row in self.rows)

    def __str__(self) -> str:
        """One line for each kind of parameter; those that differ only in the number of the block share one."""
        kinds: Counter[tuple[str, str, tuple[int, ...]]] = Counter()
        shares: Counter[tuple[str, str, tuple[int, ...]]] = Counter()
        for row in self.rows:
            module = ".".join("*" if part.isdigit() else part for part in row.module.split("."))
            kinds[module, row.name, row.shape] += 1
            shares[module, row.name, row.shape] += row.parameters
        lines = [("module", "parameter", "shape", "times", "parameters", "share")]
        for kind, times in kinds.items():
            count = shares[kind]
            shape = " x ".join(map(str, kind[2]))
            lines.append(
                (kind[0], kind[1], shape, str(times), f"{count:,}", f"{count / self.parameters:.3%}")
            )
        share = f"{self.trained / self.parameters:.3%}"
        lines.append(("trains", "", "", str(len(self.rows)), f"{self.trained:,}", share))
        lines.append(("of", "", "", "", f"{self.parameters:,}", ""))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if place < 3 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )


def training_table(model: nn.Module) -> TrainingTable:
    """The table of a model as it is: every parameter that asks for a gradient."""
    parameters = dict(model.named_parameters())
    whole = sum(parameter.numel() for parameter in parameters.values())
    rows = tuple(
        TrainedParameter(*_split(name), tuple(parameter.shape), parameter.numel(), parameter.numel() / whole)
        for name, parameter in parameters.items()
        if parameter.requires_grad
    )
    return TrainingTable(rows, whole)


def _split(name: str) -> tuple[str, str]:
    module, _, parameter = name.rpartition(".")
    return module, parameter

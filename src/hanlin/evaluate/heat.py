"""A confusion matrix as a heat map."""

from dataclasses import dataclass

from hanlin.base.language import Text
from hanlin.evaluate.task_results import Confusion

MOST_CLASSES = 16
"""Rows and columns of the confusion matrix; of more classes, those that are confused most."""


@dataclass(frozen=True)
class Cell:
    """How often, and as a whole percentage of the row."""

    count: int
    percent: int
    right: bool


@dataclass(frozen=True)
class HeatRow:
    """A true class."""

    label: str
    cells: list[Cell]


@dataclass(frozen=True)
class Heat:
    """The confusion matrix as it is drawn."""

    labels: list[str]
    rows: list[HeatRow]
    left_out: Text | None


def heat_map(confusion: Confusion) -> Heat:
    """The matrix of all classes, or of those that are confused most where there are many."""
    counts, labels = confusion.counts, confusion.labels
    mistaken = [sum(counts[k]) + sum(row[k] for row in counts) - 2 * counts[k][k] for k in range(len(labels))]
    chosen = sorted(sorted(range(len(labels)), key=lambda k: -mistaken[k])[:MOST_CLASSES])
    rows = [
        HeatRow(
            labels[true],
            [
                Cell(
                    counts[true][said],
                    round(80 * counts[true][said] / max(1, sum(counts[true]))),
                    true == said,
                )
                for said in chosen
            ],
        )
        for true in chosen
    ]
    missing = len(labels) - len(chosen)
    left_out = Text(
        f"Of {len(labels):,} classes the {MOST_CLASSES} that are confused most; all are in results.json.",
        f"共 {len(labels):,} 类，这里只列混淆最多的 {MOST_CLASSES} 类；全部见 results.json。",
    )
    return Heat([labels[k] for k in chosen], rows, left_out if missing else None)

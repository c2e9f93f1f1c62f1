"""A measure of predictions, as a function of which records are looked at, so that it can be taken of resamples.

N records.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
Better = Literal["higher", "lower"]
Counted = TypeVar("Counted")


@dataclass(frozen=True)
class Measure:
    """`of` gives the value over the records of the given numbers, any of which may come several times.

    n: records there are. What a record contributes is computed once, before; `of` only adds up.
    """

    name: str
    of: Callable[[Ids], float]
    n: int
    better: Better = "higher"

    @property
    def value(self) -> float:
        """The value over all records."""
        return self.of(np.arange(self.n))


def mean_of(name: str, values_N: Floats, better: Better = "higher") -> Measure:
    """The mean of a number that each record has."""
    return Measure(name, lambda ids: float(values_N[ids].mean()) if len(ids) else 0.0, len(values_N), better)


def ratio_of(name: str, sums_N: ArrayLike, counts_N: ArrayLike, better: Better = "higher") -> Measure:
    """The sum of one number that each record has over the sum of another; 0 where that is 0."""
    sums, counts = np.asarray(sums_N, np.float64), np.asarray(counts_N, np.float64)

    def of(ids: Ids) -> float:
        count = float(counts[ids].sum())
        return float(sums[ids].sum()) / count if count else 0.0

    return Measure(name, of, len(sums), better)


def counted_once(count: Callable[[Ids], Counted]) -> Callable[[Ids], Counted]:
    """`count`, remembering its last result: several measures of the same counts are taken of each resample in turn.

    What is remembered holds for the very array `ids`, which nobody may change.
    """
    last: tuple[Ids, Counted] | None = None

    def recall(ids: Ids) -> Counted:
        nonlocal last
        known = last
        if known is None or known[0] is not ids:
            known = last = ids, count(ids)
        return known[1]

    return recall

"""A measure of predictions, as a function of which records are looked at, so that it can be taken of resamples.

N records.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """`of` gives the value over the records of the given numbers, any of which may come several times.

    n: records there are. What a record contributes is computed once, before; `of` only adds up.
    """

    name: str
    of: Callable[[Ids], float]
    n: int
    better: Literal["higher", "lower"] = "higher"

    @property
    def value(self) -> float:
        """The value over all records."""
        return self.of(np.arange(self.n))


def mean_of(name: str, values_N: Floats, better: Literal["higher", "lower"] = "higher") -> Measure:
    """The mean of a number that each record has."""
    return Measure(name, lambda ids: float(values_N[ids].mean()) if len(ids) else 0.0, len(values_N), better)

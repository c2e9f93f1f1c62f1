"""Length buckets: rows of like length share a batch, so that less of it is padding."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

POOL = 64
"""Batches whose rows are sorted together: enough to leave little padding, few enough for batches to stay mixed."""


def bucketed(
    order: NDArray[np.int64], sizes: NDArray[np.int64], rows: int, first: int, random: Generator
) -> NDArray[np.int64]:
    """`order` rearranged so that each batch of `rows` has rows of like `sizes`, the batches in random order.

    The `first` rows complete the batch in which the epoch before ended, and with rows that fill no batch stay as they
    are, so that every row still comes once. Source: Khomenko et al. 2016 (arXiv 1708.05604).
    """
    stop = first + (len(order) - first) // rows * rows
    if stop <= first:
        return order
    pools = np.split(order[first:stop], range(POOL * rows, stop - first, POOL * rows))
    by_size = [pool[np.argsort(sizes[pool], kind="stable")] for pool in pools]
    batches = np.concatenate(by_size).reshape(-1, rows)
    return np.concatenate([order[:first], random.permutation(batches).ravel(), order[stop:]])

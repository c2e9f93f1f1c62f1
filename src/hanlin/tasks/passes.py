"""Records through a model without gradients: batches of like length, results in the order of the records.

N records, B records of a batch.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hanlin.base.progress import track
from hanlin.batches.loader import Examples
from hanlin.tasks.opened import Opened

TOKENS_AT_ONCE = {"cpu": 2**11, "cuda": 2**15, "mps": 2**13}
"""Tokens that one batch may hold: on a CPU, larger ones only leave its caches."""


@torch.inference_mode()
def passed(
    opened: Opened, examples: Examples, judge: Callable[[Any], Tensor], title: str = ""
) -> list[Tensor]:
    """What `judge` says of each record, on the CPU; it is given batches on the model's device and returns one row a record."""
    assert not opened.model.training
    sizes_N = np.asarray(getattr(examples, "sizes"))  # noqa: B009 - not all examples know them
    found: list[Tensor] = [torch.empty(0)] * len(examples)
    batches = list(_batches(sizes_N, TOKENS_AT_ONCE[opened.compute.device.type]))
    for rows in track(batches, title, len(batches)) if title else batches:
        batch = examples.batch(rows, [(0, 0, int(row)) for row in rows])
        with opened.compute.autocast():
            judged = judge(batch.to(opened.compute.device))
        for row, one in zip(rows.tolist(), judged.cpu(), strict=True):
            found[row] = one
    return found


def _batches(sizes_N: np.ndarray, tokens: int) -> Iterator[np.ndarray]:
    """Numbers of records, the longest first, of together at most `tokens` tokens if all were as long as the longest."""
    order = np.argsort(-sizes_N, kind="stable")
    place = 0
    while place < len(order):
        at_once = max(1, tokens // max(1, int(sizes_N[order[place]])))
        yield order[place : place + at_once]
        place += at_once

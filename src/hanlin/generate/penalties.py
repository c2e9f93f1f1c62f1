"""Penalties and biases: what makes single tokens more or less likely. They change a row of logits in place.

N tokens that occurred, V vocabulary. Occurrences are counted as tokens come, so that a step costs no more in a long
text than the few microseconds of touching its different tokens.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor


class Occurrences:
    """How often each token occurred: its different ids, and their counts."""

    def __init__(self) -> None:
        self._places: dict[int, int] = {}
        self._ids = np.zeros(64, dtype=np.int64)
        self._counts = np.zeros(64, dtype=np.float32)

    def add(self, ids: Iterable[int]) -> None:
        """Count these too."""
        for id in ids:
            place = self._places.setdefault(id, len(self._places))
            if place == len(self._ids):
                self._ids = np.append(self._ids, self._ids * 0)
                self._counts = np.append(self._counts, self._counts * 0)
            self._ids[place] = id
            self._counts[place] += 1

    @property
    def ids_N(self) -> Tensor:
        """The different ids, in order of their first occurrence: int64."""
        return torch.from_numpy(self._ids[: len(self._places)])

    @property
    def counts_N(self) -> Tensor:
        """How often each of `ids_N` occurred: float32."""
        return torch.from_numpy(self._counts[: len(self._places)])


def penalise_repetition(logits_V: Tensor, ids_N: Tensor, penalty: float) -> None:
    """Divide the logits of `ids` by the penalty where positive, multiply them where negative.

    Source: Keskar et al. 2019 (CTRL), arXiv 1909.05858, section 4.1, with the sign rule of its implementations.
    """
    ids_N = ids_N.to(logits_V.device)
    values_N = logits_V[ids_N]
    logits_V[ids_N] = torch.where(values_N > 0, values_N / penalty, values_N * penalty)


def penalise_occurrences(
    logits_V: Tensor, ids_N: Tensor, counts_N: Tensor, frequency: float, presence: float
) -> None:
    """logit - count * frequency - presence, for tokens that occurred.

    Source: OpenAI, API reference, "Frequency and presence penalties".
    """
    logits_V.index_add_(0, ids_N.to(logits_V.device), (-frequency * counts_N - presence).to(logits_V.device))


def add_biases(logits_V: Tensor, biases: Mapping[int, float]) -> None:
    """logit + bias, for each id."""
    ids_N = torch.tensor(list(biases), device=logits_V.device)
    logits_V.index_add_(0, ids_N, torch.tensor(list(biases.values()), device=logits_V.device))

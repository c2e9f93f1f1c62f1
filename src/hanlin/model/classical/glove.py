"""GloVe: vectors whose products are the logarithms of how often words stand together.

Source: Pennington et al. 2014 (EMNLP), equations 8 and 9; AdaGrad, x_max = 100, a = 3/4 and the sum of both sets of
vectors as in its section 4.2.

Shape suffixes: P pairs of words that occur together, B pairs of a batch, C width, V vocabulary, N places of a text.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from hanlin.base.config import Settings
from hanlin.base.progress import track
from hanlin.model.classical.adagrad import RowAdaGrad
from hanlin.model.classical.text_windows import Ids, stream_of

Floats = NDArray[np.float64]


class GloVeConfig(Settings):
    """How vectors are learned; the defaults are the paper's."""

    width: int = Field(100, ge=1)
    """Length of a vector."""
    reach: int = Field(10, ge=1)
    """Neighbours on each side that count as standing together, each 1 / its distance."""
    x_max: float = Field(100.0, gt=0)
    """Pairs that occur at least so often weigh 1."""
    power: float = Field(0.75, gt=0)
    """How fast the weight of rarer pairs falls."""
    epochs: int = Field(25, ge=1)
    """Passes over all pairs."""
    learning_rate: float = Field(0.05, gt=0)
    """Rate of AdaGrad."""
    batch_pairs: int = Field(8192, ge=1)
    """Pairs taken at once."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of first values and order."""


@dataclass(frozen=True)
class Cooccurrence:
    """X_ij of eq. 1 where it is not 0: row_P i, column_P j, int64; count_P X_ij, float64. Symmetric."""

    row_P: Ids
    column_P: Ids
    count_P: Floats


def count_cooccurrences(
    documents: Iterable[NDArray[np.integer]], vocab_size: int, reach: int
) -> Cooccurrence:
    """Sum of 1 / distance over all pairs of places at most `reach` apart in one document."""
    stream = stream_of(documents)
    keys: list[Ids] = []
    counts: list[Floats] = []
    for distance in range(1, min(reach, len(stream.ids_N) - 1) + 1):
        together_N = stream.document_N[distance:] == stream.document_N[:-distance]
        left_N, right_N = stream.ids_N[:-distance][together_N], stream.ids_N[distance:][together_N]
        key_P, times_P = np.unique(left_N * vocab_size + right_N, return_counts=True)
        keys += [key_P, key_P % vocab_size * vocab_size + key_P // vocab_size]
        counts += [times_P.astype(np.float64) / distance] * 2
    if not keys:
        return Cooccurrence(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    key_P, place_P = np.unique(np.concatenate(keys), return_inverse=True)
    count_P = np.bincount(place_P, np.concatenate(counts)).astype(np.float64)
    return Cooccurrence(key_P // vocab_size, key_P % vocab_size, count_P)


def pair_weight(count_P: Floats, x_max: float, power: float) -> Floats:
    """f(X) = (X / x_max)^power, at most 1 (eq. 9)."""
    return np.minimum(1, (count_P / x_max) ** power)


@dataclass(frozen=True)
class Tables:
    """w and w~ (V, C), b and b~ (V): the vectors and biases of a word as the one and as the other of a pair."""

    row_VC: Tensor
    column_VC: Tensor
    row_bias_V: Tensor
    column_bias_V: Tensor


def glove_gradient(
    tables: Tables, row_B: Tensor, column_B: Tensor, log_count_B: Tensor, weight_B: Tensor
) -> tuple[float, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """J = sum f(X_ij) (w_i . w~_j + b_i + b~_j - log X_ij)^2 (eq. 8), and its gradient with respect to the row of each
    table that each pair uses: w (B, C), w~ (B, C), b (B), b~ (B).
    """
    w_BC, other_BC = tables.row_VC[row_B], tables.column_VC[column_B]
    error_B = (w_BC * other_BC).sum(dim=1) - log_count_B
    error_B += tables.row_bias_V[row_B] + tables.column_bias_V[column_B]
    d_B = 2 * weight_B * error_B
    return float((weight_B * error_B.square()).sum()), (
        d_B[:, None] * other_BC,
        d_B[:, None] * w_BC,
        d_B,
        d_B,
    )


def train_glove(
    documents: Iterable[NDArray[np.integer]], vocab_size: int, config: GloVeConfig, title: str = ""
) -> NDArray[np.float32]:
    """Vectors w + w~ (V, C) of the ids 0 .. V-1; NaN for an id that never occurs near another.

    With a `title`, progress is shown. float32 on the CPU; the same documents and settings give the same vectors.
    """
    found = count_cooccurrences(documents, vocab_size, config.reach)
    generator = np.random.default_rng(config.seed)
    shapes = [(vocab_size, config.width)] * 2 + [(vocab_size,)] * 2
    tables = Tables(*(torch.from_numpy(_first(generator, shape, config.width)) for shape in shapes))
    steps = [
        RowAdaGrad(table, config.learning_rate)
        for table in (tables.row_VC, tables.column_VC, tables.row_bias_V, tables.column_bias_V)
    ]
    row_P, column_P = torch.from_numpy(found.row_P), torch.from_numpy(found.column_P)
    log_P = torch.from_numpy(np.log(found.count_P).astype(np.float32))
    weight_P = torch.from_numpy(pair_weight(found.count_P, config.x_max, config.power).astype(np.float32))
    epochs = range(config.epochs)
    for _ in track(epochs, title, config.epochs) if title else epochs:
        order_P = torch.from_numpy(generator.permutation(len(row_P)))
        for some_B in torch.split(order_P, config.batch_pairs):
            row_B, column_B = row_P[some_B], column_P[some_B]
            _, gradients = glove_gradient(tables, row_B, column_B, log_P[some_B], weight_P[some_B])
            for step, rows_B, gradient in zip(steps, (row_B, column_B) * 2, gradients, strict=True):
                step.update(rows_B, gradient)
    vectors_VC = (tables.row_VC + tables.column_VC).numpy()
    vectors_VC[np.bincount(found.row_P, minlength=vocab_size) == 0] = np.nan
    return vectors_VC


def _first(generator: np.random.Generator, shape: tuple[int, ...], width: int) -> NDArray[np.float32]:
    """First values, uniform in +-1 / (2 C)."""
    first: NDArray[np.float32] = (generator.random(shape, np.float32) - np.float32(0.5)) / np.float32(width)
    return first

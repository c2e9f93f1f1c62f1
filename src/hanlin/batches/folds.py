"""Cross-validation: k ways to divide records into those that are learned from and those that are examined.

N records.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text


@dataclass(frozen=True)
class Fold:
    """Numbers of records, in order, int64: together all, and none in both."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def folds(
    labels: Sequence[int], groups: Sequence[int] | NDArray[np.int64] | None = None, k: int = 5, seed: int = 0
) -> list[Fold]:
    """k folds whose test parts are every record once; each has about the same share of every class.

    groups: records of one number stay together, so that copies (`same_texts`) are never in both. Groups are dealt out in
    random order, large ones first, each to the fold that it leaves nearest to its share of every class. Source of
    stratification: Kohavi 1995 (IJCAI). Raises `ConfigError` if there are fewer groups than folds.
    """
    classes_N = np.unique(np.asarray(labels), return_inverse=True)[1]
    groups_N = np.unique(np.arange(len(classes_N)) if groups is None else groups, return_inverse=True)[1]
    G, K = int(groups_N.max(initial=-1)) + 1, int(classes_N.max(initial=-1)) + 1
    if not 2 <= k <= G:
        raise ConfigError(
            Text(f"{G} different records cannot be divided into {k} folds.", f"{G} 条互异的记录无法分成 {k} 折。"),
            Text("Set k to at least 2 and at most the number of different records.", "请把 k 设为不小于 2 且不大于互异记录数的值。"),
        )  # fmt: skip
    counts_GK = np.zeros((G, K))
    np.add.at(counts_GK, (groups_N, classes_N), 1)
    share_K = counts_GK.sum(0) / k
    filled_FK = np.zeros((k, K))
    fold_of_G = np.zeros(G, np.int64)
    shuffled = np.random.default_rng(seed).permutation(G)
    for group in shuffled[np.argsort(-counts_GK[shuffled].sum(1), kind="stable")]:
        # How much further from its share each fold would be, rare classes weighing as much as frequent ones.
        before_FK, after_FK = filled_FK / share_K - 1, (filled_FK + counts_GK[group]) / share_K - 1
        cost_F = (after_FK**2 - before_FK**2).sum(1)
        fold_of_G[group] = np.lexsort((filled_FK.sum(1), cost_F.round(9)))[0]
        filled_FK[fold_of_G[group]] += counts_GK[group]
    fold_of_N = fold_of_G[groups_N]
    return [Fold(np.flatnonzero(fold_of_N != fold), np.flatnonzero(fold_of_N == fold)) for fold in range(k)]


def same_texts(texts: Sequence[str]) -> NDArray[np.int64]:
    """A number for each text, (N,) int64: the same for texts that differ in case, width (NFKC) and white space alone."""
    numbers: dict[str, int] = {}
    plain = (" ".join(unicodedata.normalize("NFKC", text).casefold().split()) for text in texts)
    return np.array([numbers.setdefault(text, len(numbers)) for text in plain], np.int64)

"""How well what is searched for is found: ranked lists against what is relevant to each query.

A query to which nothing is relevant has no right list: it is left out of all means, and `without_relevant` counts them.
A document that a list has twice counts where it stands first. Lists end where they end: what is not in them was not found.

N queries.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hanlin.evaluate.measure import Floats, Measure, ratio_of

CUTOFFS = (1, 10, 100)


def ranking_measures(
    relevant: Sequence[Mapping[str, float]], ranked: Sequence[Sequence[str]], cutoffs: Sequence[int] = CUTOFFS
) -> tuple[Measure, ...]:
    """nDCG@10, MRR@10, mean average precision, and precision and recall at each cut-off that some list reaches.

    relevant: of each query, how relevant each document is; 0 or less, or not named, is not. ranked: names of documents,
    best first. Averages over queries.
    """
    lists = [list(dict.fromkeys(one)) for one in ranked]
    wanted = [{name: gain for name, gain in one.items() if gain > 0} for one in relevant]
    counts_N = np.array([bool(one) for one in wanted])
    longest = max(map(len, lists), default=0)

    def measure(name: str, of: Callable[..., float], *cutoff: int) -> Measure:
        pairs = zip(wanted, lists, strict=True)
        values_N = np.array([of(one, names, *cutoff) if one else 0.0 for one, names in pairs])
        return ratio_of(name, values_N, counts_N)

    return (
        measure("ndcg@10", ndcg, 10),
        measure("mrr@10", reciprocal_rank, 10),
        measure("map", average_precision),
        *(measure(f"recall@{k}", recall_at, k) for k in cutoffs if k <= longest),
        *(measure(f"precision@{k}", precision_at, k) for k in cutoffs if k <= longest),
    )


def without_relevant(relevant: Sequence[Mapping[str, float]]) -> int:
    """Of how many queries nothing is relevant."""
    return sum(not any(gain > 0 for gain in one.values()) for one in relevant)


def by_score(scores: Mapping[str, float], most: int | None = None) -> list[str]:
    """Names of documents, those of the highest score first; equal scores in the order of names, whatever order they came in."""
    return sorted(scores, key=lambda name: (-scores[name], name))[:most]


def ndcg(wanted: Mapping[str, float], names: Sequence[str], k: int) -> float:
    """Sum of gain / log2(1 + rank) over the first k, over that of the best order of all that is relevant.

    Source: Järvelin & Kekäläinen 2002; gains as they are, not 2^gain - 1.
    """
    found = np.array([wanted.get(name, 0.0) for name in names[:k]])
    best = np.array(sorted(wanted.values(), reverse=True)[:k])
    return float(_discounted(found) / _discounted(best))


def reciprocal_rank(wanted: Mapping[str, float], names: Sequence[str], k: int) -> float:
    """1 over the rank of the first relevant document, 0 if none is among the first k. Source: Voorhees 1999."""
    return next((1 / rank for rank, name in enumerate(names[:k], 1) if name in wanted), 0.0)


def average_precision(wanted: Mapping[str, float], names: Sequence[str]) -> float:
    """The mean over all relevant documents of the precision where each stands; 0 of those not found.

    Source: Buckley & Voorhees 2000.
    """
    ranks = np.array([rank for rank, name in enumerate(names, 1) if name in wanted])
    return float((np.arange(1, len(ranks) + 1) / ranks).sum() / len(wanted))


def recall_at(wanted: Mapping[str, float], names: Sequence[str], k: int) -> float:
    """Share of the relevant documents that are among the first k."""
    return sum(name in wanted for name in names[:k]) / len(wanted)


def precision_at(wanted: Mapping[str, float], names: Sequence[str], k: int) -> float:
    """Share of k that are relevant and among the first k; a shorter list is not forgiven."""
    return sum(name in wanted for name in names[:k]) / k


def _discounted(gains: Floats) -> Any:
    return (gains / np.log2(np.arange(2, len(gains) + 2))).sum()

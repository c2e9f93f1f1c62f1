"""Counting n-grams of token documents exactly, in sorted arrays instead of dictionaries.

An n-gram has an integer name. A token names its unigram; the name of a longer n-gram is the rank of

    key(w_1 .. w_n) = name(w_1 .. w_{n-1}) * (V + 1) + w_n

among the distinct keys of order n. Names of order n-1 are already distinct, so keys never collide: nothing is
hashed, and one sort per order counts everything. Id V stands for the begin of a document.

Shape suffixes: P positions of the token stream, G distinct n-grams of one order.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class OrderCounts:
    """The distinct n-grams of one order, in the order of their keys.

    `key_G` int64, ascending (for order 1 simply 0..V, one per token and one for the begin mark);
    `count_G` int64, the adjusted count of each (see `count_ngrams`).
    """

    key_G: Ids
    count_G: Ids


@dataclass(frozen=True)
class NGramCounts:
    """Counts of every order from 1 upwards; `tokens` counted, ends of documents included."""

    orders: tuple[OrderCounts, ...]
    tokens: int


def count_ngrams(
    token_documents: Iterable[NDArray[np.integer]], vocab_size: int, order: int, eos_id: int
) -> NGramCounts:
    """Adjusted counts of every n-gram of order 1..`order`.

    The adjusted count (Kneser & Ney 1995, eq. 9; Heafield et al. 2013, section 3.2) is

        a(w_1 .. w_n) = c(w_1 .. w_n)                        if n = order, or w_1 is the begin of a document
                        |{v : c(v w_1 .. w_n) > 0}|          otherwise

    that is, below the highest order an n-gram counts once for each different token that came before it.
    A document that does not end in `eos_id` is counted as if it did; no n-gram crosses from one document
    into the next. The begin mark itself is never predicted: its unigram count is 0.
    """
    assert order >= 1
    stream_P, offset_P = _stream(token_documents, vocab_size, eos_id)
    base = vocab_size + 1
    keys: list[Ids] = [np.arange(base, dtype=np.int64)]
    counts: list[Ids] = [np.bincount(stream_P, minlength=base)]
    counts[0][vocab_size] = 0
    begins_G = np.zeros(base, bool)
    name_P = stream_P
    for n in range(2, order + 1):
        ends_P = np.flatnonzero(offset_P >= n - 1)
        assert len(keys[-1]) < 2**63 // base, "too many n-grams for 64-bit keys"
        key_G, first_G, rank_P, count_G = _rank(name_P[ends_P - 1] * base + stream_P[ends_P])
        # The n-gram that ends at a position has, as its tail, the (n-1)-gram that ends there.
        tail_G = name_P[ends_P[first_G]]
        distinct_before = np.bincount(tail_G, minlength=len(keys[-1]))
        distinct_before[begins_G] = counts[-1][begins_G]
        counts[-1] = distinct_before
        keys.append(key_G)
        counts.append(count_G)
        begins_G = offset_P[ends_P[first_G]] == n - 1
        name_P = np.full(len(stream_P), -1, np.int64)
        name_P[ends_P] = rank_P
    orders = tuple(OrderCounts(key_G, count_G) for key_G, count_G in zip(keys, counts, strict=True))
    return NGramCounts(orders, tokens=int(np.count_nonzero(offset_P)))


def _stream(token_documents: Iterable[NDArray[np.integer]], vocab_size: int, eos_id: int) -> tuple[Ids, Ids]:
    """All documents in one stream, each as begin, tokens, eos; and how far each position is from begin."""
    begin, end = np.array([vocab_size], np.int64), np.array([eos_id], np.int64)
    parts: list[Ids] = []
    lengths: list[int] = []
    for document in token_documents:
        ids = np.asarray(document, dtype=np.int64)
        check_ids(ids, vocab_size)
        closed = len(ids) > 0 and ids[-1] == eos_id
        parts += [begin, ids] if closed else [begin, ids, end]
        lengths.append(len(ids) + (1 if closed else 2))
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    length_D = np.array(lengths)
    start_D = np.cumsum(length_D) - length_D
    return np.concatenate(parts), np.arange(length_D.sum()) - np.repeat(start_D, length_D)


def check_ids(ids: Ids, vocab_size: int) -> None:
    """Assert that every id is one of the vocabulary's `vocab_size`."""
    assert ids.ndim == 1
    assert len(ids) == 0 or (ids.min() >= 0 and ids.max() < vocab_size), (
        f"token ids must lie in 0..{vocab_size - 1}"
    )


def _rank(key_P: Ids) -> tuple[Ids, Ids, Ids, Ids]:
    """Distinct keys ascending, a position of each; the rank of each position's key; how often each occurs."""
    order_P = np.argsort(key_P)
    sorted_P = key_P[order_P]
    fresh_P = np.empty(len(key_P), bool)
    fresh_P[:1] = True
    np.not_equal(sorted_P[1:], sorted_P[:-1], out=fresh_P[1:])
    start_G = np.flatnonzero(fresh_P)
    rank_P = np.empty(len(key_P), np.int64)
    rank_P[order_P] = np.cumsum(fresh_P) - 1
    count_G = np.diff(start_G, append=len(key_P))
    return sorted_P[start_G], order_P[start_G], rank_P, count_G

"""Documents as one stream of ids that knows its boundaries, and the neighbours of each place in it.

N places, W neighbours of a place (as many on its left as on its right).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Stream:
    """ids_N: all documents one after another. document_N: the number of the document of each place."""

    ids_N: Ids
    document_N: Ids

    def kept(self, keep_N: NDArray[np.bool_]) -> "Stream":
        """Only the places where `keep_N`; what stood around a dropped word now stands side by side."""
        return Stream(self.ids_N[keep_N], self.document_N[keep_N])

    def neighbours(self, places_N: Ids, reach_N: Ids, reach: int) -> tuple[Ids, NDArray[np.bool_]]:
        """The ids within `reach_N` (at most `reach`) of each place, (N, 2 reach), and which of them are there.

        Not there: beyond the reach of that place, in another document, or outside of the stream.
        """
        offsets_W = np.concatenate([np.arange(-reach, 0), np.arange(1, reach + 1)])
        near_NW = places_N[:, None] + offsets_W
        inside_NW = (near_NW >= 0) & (near_NW < len(self.ids_N)) & (np.abs(offsets_W) <= reach_N[:, None])
        near_NW = np.where(inside_NW, near_NW, places_N[:, None])
        there_NW = inside_NW & (self.document_N[near_NW] == self.document_N[places_N][:, None])
        return self.ids_N[near_NW], there_NW


def stream_of(documents: Iterable[NDArray[np.integer]]) -> Stream:
    """One stream of all documents, in their order."""
    parts = [np.asarray(document, np.int64) for document in documents]
    lengths = [len(part) for part in parts]
    ids_N = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    return Stream(ids_N, np.repeat(np.arange(len(parts)), lengths))

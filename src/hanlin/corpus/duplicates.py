"""Exact and near copies among documents that come one after another.

Near copies: the sets of shingles (sequences of words, or of single letters in unspaced scripts) of two texts have
a Jaccard similarity of at least the threshold. Candidates are found by MinHash with banding (Broder 1997;
Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4) and then compared exactly, so chance never
drops a document.

Memory a document: 16 bytes of digest in a dict (about 150 bytes with overhead), and about 1.9 KB in the MinHash
index. Texts are not held: a candidate's is read back from disk.
"""

import hashlib
from array import array
from collections.abc import Callable

from hanlin.base.errors import MissingExtra
from hanlin.base.language import Text
from hanlin.corpus.config import DeduplicateConfig
from hanlin.corpus.units import units

_PERMUTATIONS = 128
_RECALL = 0.99


def text_digest(text: str) -> bytes:
    """16 bytes of BLAKE2b over the text: equal for equal normalised texts, and for no others in practice."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def shingles(text: str, size: int) -> frozenset[str]:
    """All sequences of `size` units of the text; a text with fewer units is one shingle."""
    words = units(text)
    if len(words) <= size:
        return frozenset([" ".join(words)])
    return frozenset(map(" ".join, zip(*(words[start:] for start in range(size)), strict=False)))


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """|A ∩ B| / |A ∪ B| of two sets that are not empty."""
    shared = len(first & second)
    return shared / (len(first) + len(second) - shared)


def choose_bands(threshold: float) -> tuple[int, int]:
    """(bands, rows a band): the longest rows by which a pair at `threshold` is still a candidate 99 times in 100.

    A pair of similarity s agrees in one of b bands of r rows with probability 1 - (1 - s^r)^b.
    """
    for rows in range(_PERMUTATIONS, 1, -1):
        bands = _PERMUTATIONS // rows
        if 1 - (1 - threshold**rows) ** bands >= _RECALL:
            return bands, rows
    return _PERMUTATIONS, 1


class NearCopies:
    """Finds an earlier document of which a text is a near copy."""

    def __init__(self, config: DeduplicateConfig, read_text: Callable[[int], str]) -> None:
        """`read_text(number)` gives back the text of an earlier document that was added under that number."""
        try:
            from rensa import RMinHash, RMinHashLSH
        except ImportError as error:
            raise MissingExtra(Text("Finding near copies", "查找近似重复文档"), "data") from error
        bands, rows = choose_bands(config.threshold)
        self._config = config
        self._read_text = read_text
        self._permutations = bands * rows
        self._minhash = RMinHash
        self._index = RMinHashLSH(threshold=config.threshold, num_perm=self._permutations, num_bands=bands)
        self.candidates = 0

    def find_and_add(self, text: str, number: int, keep_copies: bool) -> list[int]:
        """Numbers of earlier documents that `text` is a near copy of, in ascending order.

        Without `keep_copies` the first is enough and a copy is not added to the index.
        """
        own = shingles(text, self._config.shingle)
        sketch = self._minhash(num_perm=self._permutations, seed=0)
        sketch.update(list(own))
        found = []
        for candidate in sorted(self._index.query(sketch)):
            self.candidates += 1
            other = shingles(self._read_text(candidate), self._config.shingle)
            if jaccard(own, other) >= self._config.threshold:
                found.append(candidate)
                if not keep_copies:
                    return found
        self._index.insert(number, sketch)
        return found


class Clusters:
    """Which kept documents belong together (union-find); the earliest document stands for its cluster."""

    def __init__(self) -> None:
        self._parent = array("q")

    def add(self) -> int:
        """A new document, its own cluster; returns its number."""
        self._parent.append(len(self._parent))
        return len(self._parent) - 1

    def first(self, number: int) -> int:
        """The earliest document of the cluster of `number`."""
        parent = self._parent
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    def join(self, one: int, other: int) -> None:
        """Make two clusters one."""
        low, high = sorted((self.first(one), self.first(other)))
        self._parent[high] = low

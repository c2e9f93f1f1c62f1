"""Search by the words that texts share: what any model that searches must beat.

Q queries, D documents, V words.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hanlin.base.errors import MissingExtra
from hanlin.base.language import Text
from hanlin.evaluate.words import counted_words

Floats = NDArray[np.float64]


class Bm25:
    """Scores of documents by BM25: sum over the words of the query of idf x f (k1 + 1) / (f + k1 (1 - b + b |d| / mean |d|)).

    f: how often the word is in the document; idf = log(1 + (D - n + 0.5) / (n + 0.5)), n documents having it. Words are
    `counted_words`: of Chinese, single characters. Source: Robertson & Zaragoza 2009, eq. 3.15; idf as in Lucene.
    """

    def __init__(self, documents: Sequence[str], k1: float = 1.2, b: float = 0.75) -> None:
        try:
            from sklearn.feature_extraction.text import CountVectorizer
        except ImportError as error:
            raise MissingExtra(Text("Search by words", "按词检索"), "eval") from error

        self._counter = CountVectorizer(analyzer=counted_words)
        counts_DV = self._counter.fit_transform(documents).astype(np.float64).tocsr()
        lengths_D = np.asarray(counts_DV.sum(1)).ravel()
        having_V = np.bincount(counts_DV.indices, minlength=counts_DV.shape[1])
        idf_V = np.log1p((len(documents) - having_V + 0.5) / (having_V + 0.5))
        frequency = counts_DV.data
        document = np.repeat(np.arange(len(documents)), np.diff(counts_DV.indptr))
        norm_D = k1 * (1 - b + b * lengths_D / lengths_D.mean())
        counts_DV.data = idf_V[counts_DV.indices] * frequency * (k1 + 1) / (frequency + norm_D[document])
        self._weights_DV = counts_DV

    def scores(self, queries: Sequence[str]) -> Floats:
        """Of each query and document, (Q, D); a word that a query has twice counts twice."""
        scores_QD: Floats = (self._counter.transform(queries) @ self._weights_DV.T).toarray()
        return scores_QD

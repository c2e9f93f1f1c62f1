"""Words and their ids, for vectors of words rather than of a tokenizer's tokens."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class IndexedWords:
    """The words of a text, most frequent first, and its documents as ids (places in `words`)."""

    words: tuple[str, ...]
    documents: tuple[NDArray[np.int64], ...]


def index_words(documents: Iterable[Sequence[str]], least: int = 5) -> IndexedWords:
    """Give an id to each word that occurs at least `least` times; rarer ones are left out of the documents."""
    texts = [list(document) for document in documents]
    counts = Counter(word for text in texts for word in text)
    words = tuple(word for word, count in counts.most_common() if count >= least)
    number = {word: index for index, word in enumerate(words)}
    ids = tuple(np.array([number[word] for word in text if word in number], np.int64) for text in texts)
    return IndexedWords(words, ids)

"""Which tokens belong to one word, seen from the tokens of a row alone, for any tokenizer.

T tokens, W words, C characters.
"""

import numpy as np
from numpy.typing import NDArray

from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.words import word_spans

Ints = NDArray[np.int64]


class WordNumbers:
    """Numbers tokens by word: two neighbours have the same number where a word runs over the border between them.

    The words are those of `tokenizer.words`, Chinese and English; a token that holds several words joins their pieces.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._pieces = tokenizer.written_pieces()
        self._sizes_V = np.array([len(piece) for piece in self._pieces], np.int64)

    def __call__(self, ids_T: NDArray[np.integer]) -> Ints:
        """A number for each of the ids, which never falls; raises `MissingExtra` as `words` does."""
        written = b"".join([self._pieces[id] for id in ids_T.tolist()])
        text = written.decode("utf-8", "surrogateescape")  # a row may begin within a character
        spans_W2 = np.array(word_spans(text), np.int64).reshape(-1, 2)
        starts_W, stops_W = _byte_places(text, len(written))[spans_W2].T
        sizes_T = self._sizes_V[ids_T]
        begin_T = np.cumsum(sizes_T) - sizes_T
        word_T = np.searchsorted(starts_W, begin_T, "left") - 1  # the last one that starts before the token
        stops_W = np.append(stops_W, -1)  # for tokens before all words
        return np.cumsum(begin_T >= stops_W[word_T])


def _byte_places(text: str, size: int) -> Ints:
    """Where each character begins in the UTF-8 bytes of `text`, of which there are `size`, and where the last one ends."""
    if len(text) == size:
        return np.arange(size + 1)
    code_C = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    escaped_C = (code_C >= 0xDC80) & (code_C <= 0xDCFF)  # a byte that is no character
    sizes_C = 1 + (code_C > 0x7F).astype(np.int64) + (code_C > 0x7FF) + (code_C > 0xFFFF) - 2 * escaped_C
    return np.concatenate(([0], np.cumsum(sizes_C)))

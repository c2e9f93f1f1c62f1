"""What may not come next: repeated n-grams, and tokens that would complete a forbidden text. N tokens."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache

import torch

from hanlin.tokenizer.tokenizer import Tokenizer


class RepeatedNgrams:
    """Which tokens would complete an n-gram that occurred before, in prompt or text.

    Source: Paulus, Xiong and Socher 2017, arXiv 1705.04304, section 2.5 (there for trigrams).
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._followers: dict[tuple[int, ...], set[int]] = defaultdict(set)
        self._last: tuple[int, ...] = ()

    def add(self, ids: Iterable[int]) -> None:
        """Take these as the next of the sequence."""
        for id in ids:
            if len(self._last) == self._n - 1:
                self._followers[self._last].add(id)
            self._last = (*self._last, id)[-(self._n - 1) :] if self._n > 1 else ()

    def banned(self) -> Iterable[int]:
        """The tokens that may not come next."""
        return self._followers.get(self._last, ()) if len(self._last) == self._n - 1 else ()


class ForbiddenTexts:
    """Which tokens would complete one of some texts, wherever tokens begin and end in it.

    A text is looked for in the bytes of the tokens. A token is banned if it holds the text, or begins with what is
    missing of one that the last tokens began. Exact where tokens are fixed strings of bytes; elsewhere as near as
    `Tokenizer.written_pieces`.
    """

    def __init__(self, texts: Sequence[str], tokenizer: Tokenizer) -> None:
        self._texts = [text.encode() for text in texts]
        self._pieces = token_pieces(tokenizer)
        self._starts = _sorted_pieces(tokenizer)
        self.always_N = torch.tensor(
            [id for id, piece in enumerate(self._pieces) if any(text in piece for text in self._texts)],
            dtype=torch.int64,
        )
        """Tokens that hold a text, int64; they may never come."""
        self._longest = max(map(len, self._texts)) - 1
        self._tail = b""

    def add(self, ids: Iterable[int]) -> None:
        """Take these as the next tokens of the text."""
        for id in ids:
            self._tail = (self._tail + self._pieces[id])[-self._longest :] if self._longest else b""

    def banned(self) -> Iterable[int]:
        """The tokens that may not come next, beside those that never may."""
        return {
            id
            for text in self._texts
            for begun in range(1, len(text))
            if self._tail.endswith(text[:begun])
            for id in self._starting_with(text[begun:])
        }

    def _starting_with(self, prefix: bytes) -> Iterable[int]:
        pieces, ids = self._starts
        after = prefix[:-1] + bytes([prefix[-1] + 1])  # no byte of UTF-8 is 255
        return ids[bisect_left(pieces, prefix) : bisect_left(pieces, after)]


@lru_cache(maxsize=4)
def token_pieces(tokenizer: Tokenizer) -> list[bytes]:
    """What each id puts into a text, by id; nothing for special tokens."""
    if tokenizer.is_byte_level:
        pieces = [tokenizer.token_bytes(id) for id in range(tokenizer.vocab_size)]
    else:
        pieces = tokenizer.written_pieces()
    return [b"" if id in tokenizer.special_ids else piece for id, piece in enumerate(pieces)]


@lru_cache(maxsize=4)
def _sorted_pieces(tokenizer: Tokenizer) -> tuple[list[bytes], list[int]]:
    pieces = token_pieces(tokenizer)
    ids = sorted(range(len(pieces)), key=pieces.__getitem__)
    return [pieces[id] for id in ids], ids

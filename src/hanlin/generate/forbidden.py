"""Which tokens may not come next in the texts of a search. R texts, V vocabulary."""

from collections.abc import Iterable, Sequence
from copy import copy

import torch
from torch import Tensor

from hanlin.generate.bans import ForbiddenTexts, RepeatedNgrams
from hanlin.tokenizer.tokenizer import Tokenizer


class Forbidden:
    """Tokens that are never written, texts that are never written, and runs of `ngram` tokens that came before.

    Runs are looked for in all that stands before a token, the prompt included; texts (as `ForbiddenTexts`) only in what is
    written. A search goes back and forth between texts, so nothing is kept of them.
    """

    def __init__(
        self,
        ids: Sequence[int] = (),
        ngram: int = 0,
        texts: Sequence[str] = (),
        tokenizer: Tokenizer | None = None,
    ) -> None:
        assert not texts or tokenizer is not None, "texts are looked for in what tokens stand for"
        self._ids, self._ngram = list(ids), ngram
        self._texts = ForbiddenTexts(texts, tokenizer) if texts and tokenizer is not None else None

    def remove(self, log_p_RV: Tensor, before: Sequence[Sequence[int]], begun: Sequence[int]) -> None:
        """Set the log-probabilities of what may not follow each text to -inf. begun: how much of it was given."""
        if self._ids:
            log_p_RV[:, self._ids] = -torch.inf
        if not self._ngram and self._texts is None:
            return
        for log_p_V, ids, given in zip(log_p_RV, before, begun, strict=True):
            log_p_V[list(self._after(ids, given))] = -torch.inf

    def _after(self, ids: Sequence[int], given: int) -> Iterable[int]:
        if self._ngram:
            ngrams = RepeatedNgrams(self._ngram)
            ngrams.add(ids)
            yield from ngrams.banned()
        if self._texts is not None:
            texts = copy(self._texts)
            texts.add(ids[given:])
            yield from texts.banned()

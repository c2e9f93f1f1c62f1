"""A constraint that follows one text: which tokens may come next, and whether the text is complete.

V vocabulary.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from hanlin.base.errors import RequestError
from hanlin.base.language import Text
from hanlin.generate.grammar import compiled
from hanlin.generate.parameters import SamplingParameters
from hanlin.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher


class Constraint:
    """The state of one text under its constraint. An end token is allowed where the text is complete, and only there."""

    def __init__(self, matcher: "LLMatcher", tokenizer: Tokenizer) -> None:
        self._matcher = matcher
        self._vocab_size = tokenizer.vocab_size
        self._ends = [id for id in tokenizer.stop_ids if id < tokenizer.vocab_size]
        self._bits = np.zeros((self._vocab_size + 31) // 32, dtype=np.uint32)

    @classmethod
    def of(cls, parameters: SamplingParameters, tokenizer: Tokenizer) -> "Constraint | None":
        """That of a request, None if it has none. Raises as `compiled`, and `RequestError` for `min_new_tokens` that
        no choice has."""
        kind = parameters.constraint
        if kind is None:
            return None
        longest = max((len(tokenizer.encode(choice)) for choice in parameters.choices or ()), default=None)
        if longest is not None and longest < parameters.min_new_tokens:
            raise _too_short(parameters.min_new_tokens, longest)
        return cls(compiled(parameters, kind, tokenizer), tokenizer)

    def add(self, ids: Iterable[int]) -> None:
        """Take these as the next tokens of the text."""
        for id in ids:
            self._matcher.consume_token(id)

    @property
    def ended(self) -> Literal["complete", "given up"] | None:
        """Whether nothing can follow but an end token: since the text is complete, or since what may come next grew
        too complex to be told."""
        if self._matcher.is_error():
            return "given up"
        return "complete" if self._matcher.is_stopped() else None

    def apply(self, logits_V: Tensor) -> None:
        """Set the logits of tokens that may not come next to -inf.

        Where no token can be next, since the vocabulary lacks a character, the end tokens stay; `ended` then says that
        the text was given up.
        """
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        forbidden_V = np.unpackbits(~self._bits.view(np.uint8), count=self._vocab_size, bitorder="little")
        if not self._bits.any():
            forbidden_V[self._ends] = 0
        if logits_V.device.type == "cpu":  # in half the time
            np.copyto(logits_V.numpy(), -np.inf, where=forbidden_V.view(np.bool_))
        else:
            logits_V.masked_fill_(
                torch.from_numpy(forbidden_V.view(np.bool_)).to(logits_V.device), -torch.inf
            )


def _too_short(wanted: int, longest: int) -> RequestError:
    return RequestError(
        Text(
            f"min_new_tokens = {wanted}, but the longest of the choices has {longest} tokens.",
            f"min_new_tokens = {wanted}，而最长的选项只有 {longest} 个词元。",
        ),
        Text("Leave min_new_tokens out.", "请去掉 min_new_tokens。"),
    )

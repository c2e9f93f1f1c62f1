"""Which key each query may look at, as a rule that can be asked of any queries and keys.

B batch, T query time, S key time, H heads.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from hanlin.model.config import CoreConfig, Pattern

Bias = Callable[[Tensor, Tensor], Tensor]
"""Places of queries (B, T) and keys (B, S) -> what is added to scores, (B, H, T, S)."""


@dataclass(frozen=True)
class Mask:
    """A rule over places in the row, and over documents: a token sees only tokens of its own document.

    Padding is a document of its own (number -1). causal: keys at later places are hidden, but for those below
    `prefix_B1`. pattern, window, global_tokens: as in `CoreConfig`; `everything`: no rule at all.
    `bias` is what positions add to scores (bias.py).
    """

    query_places_BT: Tensor
    key_places_BS: Tensor
    causal: bool
    query_documents_BT: Tensor | None = None
    key_documents_BS: Tensor | None = None
    prefix_B1: Tensor | None = None
    pattern: Pattern = "full"
    window: int = 0
    global_tokens: int = 0
    everything: bool = False
    bias: Bias | None = None

    def narrowed(self, config: CoreConfig, pattern: Pattern) -> "Mask":
        """The same rule for a block of another attention pattern."""
        if pattern == "full":
            return self
        assert config.attention_window is not None
        return replace(
            self,
            pattern=pattern,
            window=config.attention_window,
            global_tokens=config.global_tokens,
            everything=False,
        )

    @property
    def plainly_causal(self) -> bool:
        """Whether fused kernels can apply the rule themselves and skip half of the work."""
        whole = self.query_places_BT.shape[1] == self.key_places_BS.shape[1]
        return (
            self.causal
            and whole
            and self.pattern == "full"
            and not self._documents
            and self.prefix_B1 is None
        )

    @property
    def _documents(self) -> bool:
        return self.key_documents_BS is not None

    @cached_property
    def allowed_BTS(self) -> Tensor:
        """True where a query may look: (1 or B, T, S)."""
        query, key = self.query_places_BT.unsqueeze(2), self.key_places_BS.unsqueeze(1)
        if self.everything:
            return torch.ones_like(query == key)
        allowed = query >= key if self.causal else torch.ones_like(query == key)
        if self.prefix_B1 is not None:
            allowed = allowed | (key < self.prefix_B1.unsqueeze(2))
        if self.pattern != "full":
            allowed = allowed & self._pattern_allows(query, key)
        if self.key_documents_BS is not None:
            keys = self.key_documents_BS.unsqueeze(1)
            same = (
                keys >= 0 if self.query_documents_BT is None else keys == self.query_documents_BT.unsqueeze(2)
            )
            allowed = allowed & same
        return allowed

    def _pattern_allows(self, query: Tensor, key: Tensor) -> Tensor:
        if self.pattern == "block":
            summary = key % self.window >= self.window - self.global_tokens
            return (query // self.window == key // self.window) | summary
        near = (query - key).abs() < self.window
        if self.pattern == "global":
            near = near | (key < self.global_tokens) | (query < self.global_tokens)
        return near

    @cached_property
    def bias_BHTS(self) -> Tensor | None:
        """What positions add to scores."""
        return None if self.bias is None else self.bias(self.query_places_BT, self.key_places_BS)

    def fused(self, dtype: torch.dtype) -> Tensor | None:
        """The rule and the bias as `scaled_dot_product_attention` takes them; None where it needs neither."""
        if self.bias_BHTS is not None:
            return self._biased.to(dtype)
        if self.everything or self.plainly_causal:
            return None
        return self.allowed_BTS.unsqueeze(1)

    @cached_property
    def _biased(self) -> Tensor:
        assert self.bias_BHTS is not None
        return self.bias_BHTS.masked_fill(~self.allowed_BTS.unsqueeze(1), -torch.inf)


def places(rows: int, start: int, stop: int, device: torch.device) -> Tensor:
    """start .. stop-1 for each row: (rows, stop - start)."""
    return torch.arange(start, stop, device=device).expand(rows, -1)


def self_mask(
    T: int,
    device: torch.device,
    *,
    causal: bool,
    documents_BT: Tensor | None = None,
    prefix_B: Tensor | None = None,
) -> Mask:
    """Tokens of one stretch of text looking at each other. prefix_B: how many first tokens of a row all may see."""
    here = places(1, 0, T, device)
    return Mask(
        here,
        here,
        causal,
        documents_BT,
        documents_BT,
        None if prefix_B is None else prefix_B.unsqueeze(1),
        everything=not causal and documents_BT is None,
    )


def cached_mask(lengths: list[int], T: int, device: torch.device) -> Mask:
    """T new tokens a row, of which row b comes after `lengths[b]` cached ones; keys padded to the longest row."""
    equal = len(set(lengths)) == 1
    if equal:
        query_places_BT = places(1, lengths[0], lengths[0] + T, device)
    else:
        query_places_BT = torch.tensor(lengths, device=device)[:, None] + torch.arange(T, device=device)
    key_places_BS = places(1, 0, max(lengths) + T, device)
    return Mask(query_places_BT, key_places_BS, causal=True, everything=equal and T == 1)


def memory_mask(T: int, S: int, device: torch.device, documents_BS: Tensor | None) -> Mask:
    """T tokens of a decoder looking at the S tokens of its encoder, but for padding."""
    return Mask(
        places(1, 0, T, device),
        places(1, 0, S, device),
        causal=False,
        key_documents_BS=documents_BS,
        everything=documents_BS is None,
    )

"""Which key each query may look at, as a rule that can be asked of any queries and keys.

B batch, T query time, S key time, H heads.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from hanlin.model.config import CoreConfig, Pattern
from hanlin.model.sparse import SHARED, Part, documents, plan

Bias = Callable[[Tensor, Tensor], Tensor]
"""Places of queries (B, T) and keys (B, S) -> what is added to scores, (B, H, T, S)."""


@dataclass(frozen=True)
class Tokens:
    """Where tokens are, (1 or B, T) each: the place in the row, the position in the document, and its number.

    Padding is a document of its own (number -1); keys of document `SHARED` are seen by all documents.
    """

    places_BT: Tensor
    positions_BT: Tensor
    documents_BT: Tensor | None = None

    @property
    def count(self) -> int:
        """How many tokens a row."""
        return self.places_BT.shape[1]

    def at(self, which: slice | Tensor) -> "Tokens":
        """Some of them."""
        documents_BT = None if self.documents_BT is None else self.documents_BT[:, which]
        return Tokens(self.places_BT[:, which], self.positions_BT[:, which], documents_BT)

    def document(self, row: int, places: slice) -> "Tokens":
        """Those at some places of one row, which are one document."""
        rows = slice(row, row + 1)
        places_BT = self.places_BT.expand(row + 1, -1) if len(self.places_BT) == 1 else self.places_BT
        positions_BT = (
            self.positions_BT.expand(row + 1, -1) if len(self.positions_BT) == 1 else self.positions_BT
        )
        return Tokens(places_BT[rows, places], positions_BT[rows, places])


@dataclass(frozen=True)
class Mask:
    """A rule over places in the row, and over documents: a token sees only tokens of its own document.

    causal: keys at later places are hidden, but for those below `prefix_B1`. pattern, window, global_tokens: as in
    `CoreConfig`; block and global count from the start of the document. `everything`: no rule at all.
    `bias` is what positions add to scores (bias.py).
    """

    query: Tokens
    key: Tokens
    causal: bool
    prefix_B1: Tensor | None = None
    pattern: Pattern = "full"
    window: int = 0
    global_tokens: int = 0
    everything: bool = False
    bias: Bias | None = None

    def narrowed(self, config: CoreConfig, pattern: Pattern) -> "Mask":
        """The same rule for a block of another attention pattern.

        Where all rows are one document of the same length, a sliding one leaves out the first keys, which no query
        can see.
        """
        if pattern == "full":
            return self
        assert config.attention_window is not None
        key, last = self.key, self.query.count + config.attention_window - 1
        alike = self.query.places_BT.shape[0] == 1 and key.documents_BT is None
        if pattern == "sliding" and alike and last < key.count:
            key = key.at(slice(-last, None))
        return replace(
            self,
            key=key,
            pattern=pattern,
            window=config.attention_window,
            global_tokens=config.global_tokens,
            everything=self.everything and pattern == "sliding" and self.query.count == 1,
        )

    def at(self, queries: slice, keys: Tensor) -> "Mask":
        """The same rule for some queries and keys only."""
        return replace(self, query=self.query.at(queries), key=self.key.at(keys))

    @property
    def plainly_causal(self) -> bool:
        """Whether fused kernels can apply the rule themselves and skip half of the work."""
        return (
            self.causal
            and self.query.count == self.key.count
            and self.pattern == "full"
            and self.key.documents_BT is None
            and self.prefix_B1 is None
        )

    @property
    def is_whole(self) -> bool:
        """Whether there is nothing in the rule to cut along."""
        return self.everything or self.plainly_causal

    @cached_property
    def documents(self) -> list["Mask"] | None:
        """The rule within each document, where it is cheaper to attend to them one by one (sparse.py)."""
        return documents(self)

    @cached_property
    def parts(self) -> list[Part] | None:
        """The rule cut into parts that together cost less than the whole, where there are such (sparse.py)."""
        return None if self.is_whole else plan(self)

    @cached_property
    def allowed_BTS(self) -> Tensor:
        """True where a query may look: (1 or B, T, S)."""
        query, key = self.query.places_BT.unsqueeze(2), self.key.places_BT.unsqueeze(1)
        if self.everything:
            return torch.ones_like(query == key)
        allowed = query >= key if self.causal else torch.ones_like(query == key)
        if self.prefix_B1 is not None:
            allowed = allowed | (key < self.prefix_B1.unsqueeze(2))
        if self.pattern != "full":
            allowed = allowed & self._pattern_allows()
        if self.key.documents_BT is not None:
            keys, queries = self.key.documents_BT.unsqueeze(1), self.query.documents_BT
            same = keys >= 0 if queries is None else keys == queries.unsqueeze(2)
            allowed = allowed & (same | (keys == SHARED))
        return allowed

    def _pattern_allows(self) -> Tensor:
        query, key = self.query.positions_BT.unsqueeze(2), self.key.positions_BT.unsqueeze(1)
        if self.pattern == "block":
            return (query // self.window == key // self.window) | self.key_is_shared_BS.unsqueeze(1)
        near = (self.query.places_BT.unsqueeze(2) - self.key.places_BT.unsqueeze(1)).abs() < self.window
        if self.pattern == "global":
            near = near | self.key_is_shared_BS.unsqueeze(1) | (query < self.global_tokens)
        return near

    @property
    def key_is_shared_BS(self) -> Tensor:
        """True for keys that the pattern shows to queries however far: global tokens, the ends of blocks."""
        if self.pattern == "block":
            return self.key.positions_BT % self.window >= self.window - self.global_tokens
        return self.key.positions_BT < (self.global_tokens if self.pattern == "global" else 0)

    @cached_property
    def bias_BHTS(self) -> Tensor | None:
        """What positions add to scores."""
        return None if self.bias is None else self.bias(self.query.places_BT, self.key.places_BT)

    def fused(self, dtype: torch.dtype) -> Tensor | None:
        """The rule and the bias as `scaled_dot_product_attention` takes them; None where it needs neither."""
        if self.bias is not None:
            return self._biased.to(dtype)
        if self.is_whole:
            return None
        return self.allowed_BTS.unsqueeze(1)

    @cached_property
    def _biased(self) -> Tensor:
        assert self.bias_BHTS is not None
        return self.bias_BHTS.masked_fill(~self.allowed_BTS.unsqueeze(1), -torch.inf)


def row(start: int, stop: int, device: torch.device) -> Tokens:
    """The tokens at places start .. stop-1 of every row, which are one document."""
    places_1T = torch.arange(start, stop, device=device).unsqueeze(0)
    return Tokens(places_1T, places_1T)


def self_mask(
    T: int,
    device: torch.device,
    *,
    causal: bool,
    positions_BT: Tensor | None = None,
    documents_BT: Tensor | None = None,
    prefix_B: Tensor | None = None,
) -> Mask:
    """Tokens of one stretch of text looking at each other. prefix_B: how many first tokens of a row all may see."""
    tokens = row(0, T, device)
    if documents_BT is not None:
        tokens = replace(tokens, documents_BT=documents_BT)
    if positions_BT is not None:
        tokens = replace(tokens, positions_BT=positions_BT)
    return Mask(
        tokens,
        tokens,
        causal,
        None if prefix_B is None else prefix_B.unsqueeze(1),
        everything=not causal and documents_BT is None,
    )


def cached_mask(lengths: list[int], T: int, device: torch.device) -> Mask:
    """T new tokens a row, of which row b comes after `lengths[b]` cached ones; keys padded to the longest row."""
    equal = len(set(lengths)) == 1
    if equal:
        query = row(lengths[0], lengths[0] + T, device)
    else:
        places_BT = torch.tensor(lengths, device=device)[:, None] + torch.arange(T, device=device)
        query = Tokens(places_BT, places_BT)
    return Mask(query, row(0, max(lengths) + T, device), causal=True, everything=equal and T == 1)


def memory_mask(T: int, S: int, device: torch.device, documents_BS: Tensor | None) -> Mask:
    """T tokens of a decoder looking at the S tokens of its encoder, but for padding."""
    key = replace(row(0, S, device), documents_BT=documents_BS)
    return Mask(row(0, T, device), key, causal=False, everything=documents_BS is None)

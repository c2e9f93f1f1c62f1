"""Learned prefixes: keys and values that stand before those of the tokens in every block.

L layers, B rows, G key-value heads, N virtual tokens, D head size, T tokens.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hanlin.model.adapters.switch import Switch
from hanlin.model.cache import KeyValueCache, LayerCache
from hanlin.model.config import CoreConfig
from hanlin.model.mask import Mask, Tokens
from hanlin.model.sparse import SHARED

if TYPE_CHECKING:
    from hanlin.model.stack import Stack

_BEYOND = 2**30
"""The place of padding: after every query, so that none sees it."""


class Prefixes(nn.Module):
    """The prefixes of a decoder's adapters: N tokens that it seems to have read before all others.

    A prefix takes the first N positions, so that masks, windows and position kinds treat it as tokens. Each table
    is (N, L x 2 x G x D): keys then values of the first block, of the second, ... Source: arXiv 2101.00190, eq. 3,
    without the reparametrisation of section 4.3.
    """

    def __init__(self, config: CoreConfig, layers: int, switch: Switch) -> None:
        super().__init__()
        self.layers, self.kv_heads, self.head_size = layers, config.kv_heads, config.head_size
        self.switch = switch
        self.tables = nn.ParameterDict()

    @property
    def width(self) -> int:
        """Values of one virtual token."""
        return self.layers * 2 * self.kv_heads * self.head_size

    def keys_values(self, name: str) -> Tensor:
        """A prefix by layer, keys before values: (L, 2, G, N, D)."""
        table = self.tables[name].unflatten(-1, (self.layers, 2, self.kv_heads, self.head_size))
        keys_values: Tensor = table.permute(1, 2, 3, 0, 4)
        return keys_values

    def of_one_text(self) -> Tensor | None:
        """What stands before a text that this thread reads by itself, as `keys_values`."""
        (name,) = self.switch.choice.names(1)
        return self.keys_values(name).detach() if name is not None and name in self.tables else None

    def before(self, rows: int, cache: KeyValueCache | None) -> KeyValueCache | None:
        """The cache with which a pass over `rows` rows begins.

        Without a cache, one that holds the prefixes for this pass; empty rows of a given cache get theirs.
        """
        names = [
            name if name is not None and name in self.tables else None
            for name in self.switch.choice.names(rows)
        ]
        held = {name: self.keys_values(name) for name in set(names) if name is not None}
        if not held:
            return cache
        if cache is None:
            return PrefixCache.of([None if name is None else held[name] for name in names])
        for row, name in enumerate(names):
            if name is not None and cache.lengths_B[row] == 0:
                length = held[name].shape[3]
                keys_LGND, values_LGND = held[name].detach().unbind(1)
                cache.keys_LBGSD[:, row, :, :length] = keys_LGND
                cache.values_LBGSD[:, row, :, :length] = values_LGND
                cache.lengths_B[row] = length
        return cache


@torch.no_grad()
def words_as_prefix(stack: "Stack", length: int, words: Tensor) -> Tensor:
    """A table that does what `length` words before the text would do: their keys and values, over and over."""
    words_1N = words.repeat(-(-length // len(words)))[None, :length].to(next(stack.parameters()).device)
    config, training = stack.config, stack.training
    cache = KeyValueCache(config, 1, length, words_1N.device)
    stack.eval().hidden(words_1N, cache=cache)
    stack.train(training)
    keys_values_LGND = torch.stack((cache.keys_LBGSD[:, 0], cache.values_LBGSD[:, 0]), dim=1)
    return keys_values_LGND.permute(3, 0, 1, 2, 4).flatten(1).contiguous()


class PrefixCache(KeyValueCache):
    """The prefixes of one pass, through which gradients flow. Shorter ones are padded on the left."""

    def __init__(self, keys_LBGSD: Tensor, values_LBGSD: Tensor, lengths_B: Tensor) -> None:
        self.keys_LBGSD, self.values_LBGSD, self.lengths_B = keys_LBGSD, values_LBGSD, lengths_B

    @classmethod
    def of(cls, prefixes: list[Tensor | None]) -> "PrefixCache":
        """From each row's prefix, (L, 2, G, N, D) with an N of its own, or None."""
        lengths = [0 if prefix is None else prefix.shape[3] for prefix in prefixes]
        some = next(prefix for prefix in prefixes if prefix is not None)
        longest = some.new_zeros(*some.shape[:3], max(lengths), some.shape[4])
        padded = [
            longest if prefix is None else torch.cat((longest[:, :, :, length:], prefix), dim=3)
            for prefix, length in zip(prefixes, lengths, strict=True)
        ]
        keys_values = torch.stack(padded, dim=2)
        return cls(keys_values[:, 0], keys_values[:, 1], torch.tensor(lengths))

    def layer(self, index: int, lengths: list[int]) -> LayerCache:
        """One layer's part."""
        return _PrefixLayer(self.keys_LBGSD[index], self.values_LBGSD[index], lengths)

    def positions(self, positions_BT: Tensor | None, T: int, device: torch.device) -> Tensor:
        """Positions of the tokens after the prefix: (B, T)."""
        if positions_BT is None:
            positions_BT = torch.arange(T, device=device)
        return self.lengths_B.to(device).unsqueeze(1) + positions_BT

    def mask(self, positions_BT: Tensor, documents_BT: Tensor | None) -> Mask:
        """A causal rule over positions: every document of a row comes right after the row's prefix."""
        device = positions_BT.device
        N, lengths_B1 = self.capacity, self.lengths_B.to(device).unsqueeze(1)
        places_BN = torch.arange(N, device=device) - (N - lengths_B1)
        places_BN = places_BN.masked_fill(places_BN < 0, _BEYOND)
        query = Tokens(positions_BT, positions_BT, documents_BT)
        places_BS = torch.cat((places_BN, positions_BT), dim=1)
        key_documents_BS = None
        if documents_BT is not None:
            documents_BT = documents_BT.expand_as(positions_BT)
            key_documents_BS = torch.cat((torch.full_like(places_BN, SHARED), documents_BT), dim=1)
        return Mask(query, Tokens(places_BS, places_BS, key_documents_BS), causal=True)


class _PrefixLayer(LayerCache):
    """One layer's prefix during one pass."""

    def append(self, k_BGTD: Tensor, v_BGTD: Tensor, last: int) -> tuple[Tensor, Tensor]:
        """The prefix, then the tokens: the `last` of them. Nothing is kept."""
        keys = torch.cat((self.keys_BGSD.to(k_BGTD.dtype), k_BGTD), dim=2)
        values = torch.cat((self.values_BGSD.to(v_BGTD.dtype), v_BGTD), dim=2)
        return keys[:, :, -last:], values[:, :, -last:]

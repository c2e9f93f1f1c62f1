"""What one text's tokens offer to those after them, in memory of its own that follows its length.

L layers, G key-value heads, S capacity, D head size, T new tokens, N tokens of a prefix.
"""

import torch
from torch import Tensor

from hanlin.model.attention import KeysValues
from hanlin.model.config import CoreConfig

FEWEST = 64
"""Tokens for which memory is taken at least, once there is one."""


class TextCache:
    """Keys and values of one text, (L, G, S, D) each. S grows twofold with the text, and shrinks with it."""

    def __init__(
        self,
        config: CoreConfig,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        most: int | None = None,
    ) -> None:
        """most: the tokens that will ever be kept (default: the model's window)."""
        self.length, self.most = 0, config.window if most is None else most
        empty = torch.empty(
            config.cached_layers, config.kv_heads, 0, config.head_size, device=device, dtype=dtype
        )
        self.keys_LGSD, self.values_LGSD = empty, empty

    @property
    def capacity(self) -> int:
        """S: the tokens for which memory is taken."""
        return self.keys_LGSD.shape[2]

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values."""
        return self.keys_LGSD.nbytes + self.values_LGSD.nbytes

    def reserve(self, length: int) -> None:
        """Make room for `length` tokens in all."""
        assert length <= self.most
        if length > self.capacity:
            self._resize(min(self.most, max(FEWEST, length, 2 * self.capacity)))

    def append(self, layer: int, k_1GTD: Tensor, v_1GTD: Tensor, last: int) -> KeysValues:
        """Write T new tokens of one layer into reserved room; its `last` ones, those included: (1, G, last, D), in k's
        dtype. `length` is for the caller to advance when all layers have theirs."""
        end = self.length + k_1GTD.shape[2]
        self.keys_LGSD[layer, :, self.length : end] = k_1GTD[0]
        self.values_LGSD[layer, :, self.length : end] = v_1GTD[0]
        seen, dtype = slice(end - last, end), k_1GTD.dtype
        keys_1GSD, values_1GSD = self.keys_LGSD[layer, None, :, seen], self.values_LGSD[layer, None, :, seen]
        return keys_1GSD.to(dtype), values_1GSD.to(dtype)

    def begin(self, keys_LGND: Tensor, values_LGND: Tensor) -> None:
        """Hold these, and nothing else."""
        self.length = 0
        self.reserve(keys_LGND.shape[2])
        self.length = keys_LGND.shape[2]
        self.keys_LGSD[:, :, : self.length] = keys_LGND
        self.values_LGSD[:, :, : self.length] = values_LGND

    def truncate(self, length: int) -> None:
        """Forget all but the first tokens. Memory goes back once three quarters of it are free."""
        assert length <= self.length
        self.length = length
        if 4 * length <= self.capacity and self.capacity > FEWEST:
            self._resize(max(FEWEST, 2 * length) if length else 0)

    def copy(self, source: "TextCache", length: int) -> None:
        """Hold the first `length` tokens of `source`, and nothing else."""
        assert length <= source.length
        if source is self:
            return self.truncate(length)
        self.truncate(0)
        self.begin(source.keys_LGSD[:, :, :length], source.values_LGSD[:, :, :length])

    def _resize(self, capacity: int) -> None:
        for name in ("keys_LGSD", "values_LGSD"):
            old = getattr(self, name)
            new = old.new_empty(*old.shape[:2], capacity, old.shape[3])
            new[:, :, : self.length] = old[:, :, : self.length]
            setattr(self, name, new)

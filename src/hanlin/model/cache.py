"""The key-value cache: what generation keeps so that each new token costs one step.

L layers, B rows, G key-value heads, S capacity, D head size, T new tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from hanlin.model.config import CoreConfig


class KeyValueCache:
    """Keys and values of `rows` sequences of at most `capacity` tokens, each with its own length.

    Memory: 2 x layers x rows x kv_heads x capacity x head_size values of `dtype`, all taken at the start.
    """

    def __init__(
        self,
        config: CoreConfig,
        rows: int,
        capacity: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (config.cached_layers, rows, config.kv_heads, capacity, config.head_size)
        self.keys_LBGSD = torch.zeros(shape, device=device, dtype=dtype)
        self.values_LBGSD = torch.zeros(shape, device=device, dtype=dtype)
        self.lengths_B = torch.zeros(rows, dtype=torch.long)

    @property
    def capacity(self) -> int:
        """The most tokens one row can hold."""
        return self.keys_LBGSD.shape[3]

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values."""
        return self.keys_LBGSD.nbytes + self.values_LBGSD.nbytes

    def rows(self, start: int, stop: int) -> "KeyValueCache":
        """Rows start .. stop-1 as a cache of their own that shares this one's storage and lengths."""
        view = object.__new__(KeyValueCache)
        view.keys_LBGSD = self.keys_LBGSD[:, start:stop]
        view.values_LBGSD = self.values_LBGSD[:, start:stop]
        view.lengths_B = self.lengths_B[start:stop]
        return view

    def chosen(self, rows_R: Tensor) -> "KeyValueCache":
        """A cache of these rows, in this order; one may come several times."""
        fresh = object.__new__(KeyValueCache)
        fresh.keys_LBGSD = self.keys_LBGSD.index_select(1, rows_R)
        fresh.values_LBGSD = self.values_LBGSD.index_select(1, rows_R)
        fresh.lengths_B = self.lengths_B[rows_R.cpu()]
        return fresh

    def lengthened(self, capacity: int) -> "KeyValueCache":
        """A cache of the same rows with room for more tokens."""
        fresh = object.__new__(KeyValueCache)
        for name in ("keys_LBGSD", "values_LBGSD"):
            old = getattr(self, name)
            more = old.new_zeros(*old.shape[:3], capacity - self.capacity, old.shape[4])
            setattr(fresh, name, torch.cat((old, more), dim=3))
        fresh.lengths_B = self.lengths_B
        return fresh

    def layer(self, index: int, lengths: list[int]) -> "LayerCache":
        """One layer's part during a forward pass over rows that hold `lengths` tokens."""
        return LayerCache(self.keys_LBGSD[index], self.values_LBGSD[index], lengths)


@dataclass(frozen=True)
class LayerCache:
    """One layer's keys and values, (B, G, S, D), during one forward pass."""

    keys_BGSD: Tensor
    values_BGSD: Tensor
    lengths: list[int]

    def append(self, k_BGTD: Tensor, v_BGTD: Tensor, last: int) -> tuple[Tensor, Tensor]:
        """Write T new tokens after each row's held ones; return the `last` ones up to the end of the longest row."""
        T = k_BGTD.shape[2]
        end = max(self.lengths) + T
        if len(set(self.lengths)) == 1:
            self.keys_BGSD[:, :, end - T : end] = k_BGTD
            self.values_BGSD[:, :, end - T : end] = v_BGTD
        else:
            for row, length in enumerate(self.lengths):
                self.keys_BGSD[row, :, length : length + T] = k_BGTD[row]
                self.values_BGSD[row, :, length : length + T] = v_BGTD[row]
        seen, dtype = slice(end - last, end), k_BGTD.dtype
        return self.keys_BGSD[:, :, seen].to(dtype), self.values_BGSD[:, :, seen].to(dtype)

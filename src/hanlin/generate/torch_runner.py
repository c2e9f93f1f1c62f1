"""The runner on PyTorch: any decoder, any device.

B rows, T tokens, N asked tokens, V vocabulary, C width.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from hanlin.base.device import Compute
from hanlin.generate.runner import Chunk
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.cache import KeyValueCache
from hanlin.model.decoder import Decoder



class TorchRunner:
    """A decoder with a key-value cache that grows, twofold, with the slots in use."""

    name = "torch"

    def __init__(
        self,
        model: Decoder,
        compute: Compute,
        slots: int = 8,
        window: int | None = None,
        adapters: Adapters | None = None,
        cache_dtype: torch.dtype | None = None,
    ) -> None:
        self.model = model.to(compute.device).eval()
        self.compute = compute
        self.slots = slots
        self.adapters = adapters
        self.window = min(window or model.config.window, model.config.window)
        self._dtype = cache_dtype or compute.precision
        self._cache = KeyValueCache(model.config, 1, self.window, compute.device, self._dtype)

    @property
    def vocab_size(self) -> int:
        """As `Runner`."""
        return self.model.config.vocab_size

    @property
    def bytes_per_token(self) -> int:
        """As `Runner`."""
        config = self.model.config
        return 2 * config.cached_layers * config.kv_heads * config.head_size * self._dtype.itemsize

    @property
    def device(self) -> torch.device:
        """As `Runner`."""
        return self.compute.device

    @torch.inference_mode()
    def forward(self, chunks: Sequence[Chunk]) -> Tensor:
        """As `Runner`: chunks of equal length in neighbouring slots are one pass."""
        self._grow(1 + max(chunk.slot for chunk in chunks))
        parts: dict[int, Tensor] = {}
        for group in _groups(chunks):
            hidden_BTC = self._hidden(group)
            for row, chunk in enumerate(group):
                if chunk.asked:
                    parts[chunk.slot] = hidden_BTC[row, -chunk.asked :]
        if not parts:
            return torch.empty(0, self.vocab_size, device=self.device)
        hidden_NC = torch.cat([parts[chunk.slot] for chunk in chunks if chunk.asked])
        with self.compute.autocast():
            return self.model.logits(hidden_NC)

    def _hidden(self, group: Sequence[Chunk]) -> Tensor:
        tokens_BT = torch.tensor([list(chunk.ids) for chunk in group], device=self.device)
        names = [chunk.adapter for chunk in group]
        through = nullcontext() if self.adapters is None else self.adapters.rows(names)
        rows = self._cache.rows(group[0].slot, group[-1].slot + 1)
        with self.compute.autocast(), through:
            return self.model.hidden(tokens_BT, cache=rows)

    def length(self, slot: int) -> int:
        """As `Runner`."""
        return int(self._cache.lengths_B[slot]) if slot < len(self._cache.lengths_B) else 0

    def truncate(self, slot: int, length: int) -> None:
        """As `Runner`."""
        assert length <= self.length(slot)
        if slot < len(self._cache.lengths_B):
            self._cache.lengths_B[slot] = length

    def copy(self, source: int, target: int, length: int) -> None:
        """As `Runner`."""
        assert length <= self.length(source)
        self._grow(target + 1)
        self._cache.move(source, target)
        self._cache.lengths_B[target] = length

    def _grow(self, rows: int) -> None:
        held = len(self._cache.lengths_B)
        if held < rows:
            self._cache = self._cache.grown(min(self.slots, max(rows, 2 * held)))


def _groups(chunks: Sequence[Chunk]) -> Iterator[list[Chunk]]:
    """Runs of chunks of equal length whose slots follow one another."""
    group: list[Chunk] = []
    for chunk in sorted(chunks, key=lambda chunk: (len(chunk.ids), chunk.slot)):
        if group and (len(chunk.ids), chunk.slot) != (len(group[0].ids), group[-1].slot + 1):
            yield group
            group = []
        group.append(chunk)
    yield group

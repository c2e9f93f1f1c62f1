"""The runner on the native kernel: Llama-like decoders on a CPU.

N asked tokens, V vocabulary.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from copy import copy
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from hanlin.base.device import one_thread
from hanlin.base.language import Text
from hanlin.checkpoint.folder import Described
from hanlin.checkpoint.stored import StoredWeights, WeightsName
from hanlin.generate.kernel_network import build_network, obstacle, rotations
from hanlin.generate.runner import Chunk
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder

_POSITIONS = 1024
"""Rotations are computed for so many positions at first, and for twice as many whenever they do not suffice."""

_GIVEN_BACK = 256
"""A slot's memory goes back to the system when it is that of so many tokens more than it holds, or the slot is empty."""


class KernelRunner:
    """A decoder in the kernel, with a cache in float16 where weights are quantised and in float32 otherwise."""

    name = "kernel"
    adapters = None
    device = torch.device("cpu")

    def __init__(
        self,
        source: Described | Decoder,
        slots: int = 8,
        window: int | None = None,
        threads: int | None = None,
        weights: WeightsName = "auto",
    ) -> None:
        """source: a model folder or file that is described, or a decoder in memory, whose weights are copied.

        threads: default as many as torch uses. Only where `supports` finds nothing. Raises as `StoredWeights`.
        """
        self.config = source.config
        self.slots, self.window = slots, min(window or self.config.window, self.config.window)
        threads = torch.get_num_threads() if threads is None else threads
        self._network = build_network(StoredWeights(source, weights), slots, self.window, threads)
        self._lengths, self._taken = [0] * slots, [0] * slots
        self._covered = 0

    @staticmethod
    def supports(config: CoreConfig) -> Text | None:
        """Why the kernel cannot run such a model here, as a clause; None if it can."""
        return obstacle(config)

    @property
    def vocab_size(self) -> int:
        """As `Runner`."""
        return self.config.vocab_size

    @property
    def threads(self) -> int:
        """Threads that compute."""
        return self._network.threads

    @property
    def bytes_per_token(self) -> int:
        """As `Runner`."""
        return self._network.token_bytes

    def forward(self, chunks: Sequence[Chunk]) -> Tensor:
        """As `Runner`; the tensor is the kernel's own memory."""
        sizes = [len(chunk.ids) for chunk in chunks]
        starts = [self._lengths[chunk.slot] for chunk in chunks]
        ends = [start + size for start, size in zip(starts, sizes, strict=True)]
        assert max(ends) <= self.window
        self._cover(max(ends))
        ids_N = np.array([id for chunk in chunks for id in chunk.ids], np.int32)
        slots_N = np.repeat(np.array([chunk.slot for chunk in chunks], np.int32), sizes)
        positions_N = np.concatenate(
            [np.arange(*pair, dtype=np.int32) for pair in zip(starts, ends, strict=True)]
        )
        asked = [
            np.arange(stop - chunk.asked, stop, dtype=np.int32)
            for chunk, stop in zip(chunks, accumulate(sizes), strict=True)
        ]
        logits_NV = self._network.forward(ids_N, slots_N, positions_N, np.concatenate(asked))
        for chunk, end in zip(chunks, ends, strict=True):
            self._lengths[chunk.slot] = end
            self._taken[chunk.slot] = max(end, self._taken[chunk.slot])
        return torch.from_numpy(logits_NV)

    def another(self, slots: int) -> "KernelRunner":
        """As `Runner`."""
        runner = copy(self)
        runner.slots, runner._network = slots, self._network.another(slots)
        runner._lengths, runner._taken, runner._covered = [0] * slots, [0] * slots, 0
        return runner

    def length(self, slot: int) -> int:
        """As `Runner`."""
        return self._lengths[slot]

    def truncate(self, slot: int, length: int) -> None:
        """As `Runner`; memory that many tokens took is given back."""
        assert length <= self._lengths[slot]
        if length == 0 < self._taken[slot] or self._taken[slot] - length >= _GIVEN_BACK:
            self._network.release(slot, length)
            self._taken[slot] = length
        self._lengths[slot] = length

    def copy(self, source: int, target: int, length: int) -> None:
        """As `Runner`."""
        assert length <= self._lengths[source]
        if source != target:
            self._network.copy(source, target, length)
        self._lengths[target] = length
        self._taken[target] = max(length, self._taken[target])

    def close(self) -> None:
        """Give all memory back, and end the threads; also done when nobody refers to the runner any more."""
        self._network.close()

    def quiet(self) -> AbstractContextManager[None]:
        """As `Runner`."""
        return one_thread()

    def _cover(self, positions: int) -> None:
        if positions <= self._covered:
            return
        self._covered = min(self.window, max(positions, 2 * self._covered, _POSITIONS))
        for table in (0, 1):
            self._network.turn_by(table, *rotations(self.config, table == 1, self._covered))

"""What the engine needs of whatever computes: logits of new tokens, over slots of cached ones.

N asked tokens, V vocabulary.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from hanlin.model.adapters.adapters import Adapters


@dataclass(frozen=True)
class Chunk:
    """New tokens of one slot, after those that it holds.

    logits: whether what comes after none, the last or all of them is asked. adapter: through which they go.
    """

    slot: int
    ids: Sequence[int]
    logits: Literal["none", "last", "all"] = "last"
    adapter: str | None = None

    @property
    def asked(self) -> int:
        """How many logits it asks for."""
        return {"none": 0, "last": 1, "all": len(self.ids)}[self.logits]


class Runner(Protocol):
    """A model with a cache of `slots` texts of at most `window` tokens each. For one thread at a time.

    A token's logits do not depend on what else is in the call.
    """

    @property
    def name(self) -> str:
        """What computes: "kernel", "torch", "llamacpp"."""

    @property
    def vocab_size(self) -> int:
        """V: at least the tokenizer's."""

    @property
    def window(self) -> int:
        """The most tokens that a slot can hold."""

    @property
    def slots(self) -> int:
        """How many texts can be held at once, numbered from 0."""

    @property
    def bytes_per_token(self) -> int:
        """Memory of one cached token."""

    @property
    def device(self) -> torch.device:
        """Where logits lie."""

    @property
    def adapters(self) -> Adapters | None:
        """Those that chunks may name."""

    def forward(self, chunks: Sequence[Chunk]) -> Tensor:
        """Append the chunks, one a slot at most, to their slots; the logits asked for, in order: (N, V), float32.

        The tensor may be written to, and holds until the next call.
        """

    def quiet(self) -> AbstractContextManager[None]:
        """Around what is done to logits between two calls, so that the threads of both do not stand in each other's way."""

    def length(self, slot: int) -> int:
        """How many tokens a slot holds."""

    def truncate(self, slot: int, length: int) -> None:
        """Forget all but the first `length` tokens of a slot."""

    def copy(self, source: int, target: int, length: int) -> None:
        """Let `target` hold the first `length` tokens of `source`, in place of its own."""

    def another(self, slots: int) -> "Runner":
        """A runner over the same weights with a cache of its own, of so many slots."""

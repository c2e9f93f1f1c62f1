"""Soft prompts: ids beyond the vocabulary, looked up in trained tables.

N virtual tokens, C width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hanlin.model.config import CoreConfig


@dataclass(frozen=True)
class VirtualIds:
    """The ids of one prompt, start .. stop-1; they stay the same while it is there."""

    start: int
    stop: int


class PromptedEmbedding(nn.Embedding):
    """A token table with virtual ids from V on, so that a soft prompt is nothing but ids before the input.

    The tables hold what the first block should read: the embedding's scale is undone here, since it is applied
    to all that comes out. Source: arXiv 2104.08691, section 2.
    """

    def __init__(self, table: nn.Embedding, config: CoreConfig) -> None:
        super().__init__(table.num_embeddings, table.embedding_dim, device="meta")
        self.weight = table.weight
        self.scale = config.embedding_scale
        self.prompts = nn.ParameterDict()
        self.ids: dict[str, VirtualIds] = {}

    def add(self, name: str, length: int, words: Tensor | None = None) -> None:
        """A new prompt of `length` virtual tokens that begins as the embeddings of `words`, over and over.

        words: ids, (any number,); None draws them from the vocabulary.
        """
        if words is None:
            words = torch.randint(self.num_embeddings, (length,))
        words = words.repeat(-(-length // len(words)))[:length].to(self.weight.device)
        table_NC = self.weight.detach()[words].float() * self.scale
        start = max((taken.stop for taken in self.ids.values()), default=self.num_embeddings)
        self.ids[name] = VirtualIds(start, start + length)
        self.prompts[name] = nn.Parameter(table_NC)

    def remove(self, name: str) -> None:
        """Forget a prompt."""
        del self.prompts[name], self.ids[name]

    def forward(self, input: Tensor) -> Tensor:
        """ids (...) -> (..., C)."""
        real = input < self.num_embeddings
        out = super().forward(torch.where(real, input, 0))
        for name, ids in self.ids.items():
            here = (input >= ids.start) & (input < ids.stop)
            table_NC = self.prompts[name] / self.scale
            found = table_NC[torch.where(here, input - ids.start, 0)]
            out = torch.where(here.unsqueeze(-1), found.to(out.dtype), out)
            real = real | here
        assert bool(real.all()), "an id is neither in the vocabulary nor in a prompt"
        return out

    def plain(self) -> nn.Embedding:
        """A plain table with the same words."""
        table = nn.Embedding(self.num_embeddings, self.embedding_dim, device="meta")
        table.weight = self.weight
        return table.train(self.training)

"""From token ids to vectors: the embedding table and, where asked for, a learned position table.

B batch, T time, C width.
"""

import torch
from torch import Tensor, nn

from hanlin.model.config import CoreConfig


class Embedding(nn.Module):
    """A row of E (vocabulary x width) for each token, plus a row of the position table if there is one."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        self.token = nn.Embedding(config.vocab_size, config.width)
        self.position = nn.Embedding(config.window, config.width) if config.position == "learned" else None
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens_BT: Tensor, positions_BT: Tensor | None) -> Tensor:
        """(B, T, C); `positions_BT` None means 0 .. T-1."""
        x_BTC = self.token(tokens_BT)
        if self.position is not None:
            if positions_BT is None:
                positions_BT = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
            x_BTC = x_BTC + self.position(positions_BT)
        out: Tensor = self.dropout(x_BTC)
        return out

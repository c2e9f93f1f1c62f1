"""From token ids to vectors: the token table and, where asked for, position and segment tables.

B batch, T time, C width.
"""

import torch
from torch import Tensor, nn

from hanlin.model.config import CoreConfig
from hanlin.model.norm import build_norm
from hanlin.model.position import SinusoidalTable


class Embedding(nn.Module):
    """Norm(scale x E[token] + P[position] + S[segment]), of which every part but E is optional.

    `token`: the table to share, for the second stack of an encoder-decoder.
    """

    def __init__(self, config: CoreConfig, token: nn.Embedding | None = None) -> None:
        super().__init__()
        self.scale, self.offset = config.embedding_scale, config.position_offset
        self.token = nn.Embedding(config.vocab_size, config.width) if token is None else token
        self.position: nn.Module | None = None
        if config.position == "learned":
            self.position = nn.Embedding(config.window + config.position_offset, config.width)
        elif config.position == "sinusoidal":
            self.position = SinusoidalTable(config.window, config.width, config.position_pairs)
        self.segment = nn.Embedding(config.segments, config.width) if config.segments else None
        self.norm = build_norm(config) if config.embedding_norm else None
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, tokens_BT: Tensor, positions_BT: Tensor | None = None, segments_BT: Tensor | None = None
    ) -> Tensor:
        """(B, T, C). `positions_BT` None means 0 .. T-1; `segments_BT` None means all 0."""
        x_BTC = self.token(tokens_BT)
        if self.scale != 1:
            x_BTC = x_BTC * self.scale
        if self.position is not None:
            if positions_BT is None:
                positions_BT = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
            x_BTC = x_BTC + self.position(positions_BT + self.offset)
        if self.segment is not None:
            x_BTC = x_BTC + self.segment(torch.zeros_like(tokens_BT) if segments_BT is None else segments_BT)
        if self.norm is not None:
            x_BTC = self.norm(x_BTC)
        out: Tensor = self.dropout(x_BTC)
        return out

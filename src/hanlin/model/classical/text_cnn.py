"""The convolutional text classifier of Kim 2014 (arXiv 1408.5882).

B batch, T time, C width, F filters of one length, K classes.
"""

import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor, nn

from hanlin.base.config import Settings
from hanlin.model.classical.embed import TokenVectors


class TextCNNConfig(Settings):
    """Shape of the classifier; the defaults are the paper's, section 3.1, but for the width."""

    vocab_size: int = Field(ge=1)
    """Rows of the embedding."""
    classes: int = Field(ge=2)
    """Classes to tell apart."""
    width: int = Field(128, ge=1)
    """Length of the vector that stands for one token."""
    filters: int = Field(100, ge=1)
    """Filters of each length."""
    lengths: tuple[int, ...] = (3, 4, 5)
    """Tokens that a filter spans."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of pooled features dropped while training."""
    pad_id: int = Field(0, ge=0)
    """The token that fills up short texts; a filter that touches none but these finds nothing."""

    @field_validator("lengths")
    @classmethod
    def _positive(cls, lengths: tuple[int, ...]) -> tuple[int, ...]:
        if not lengths or min(lengths) < 1:
            raise ValueError("must name at least one length, each at least 1")
        return lengths


class TextCNN(nn.Module):
    """logits = W dropout(max over time of relu(w * x + b)) + bias: each filter says how well its n-gram is met (eqs. 2-4)."""

    def __init__(self, config: TextCNNConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = TokenVectors(config.vocab_size, config.width, config.pad_id)
        self.filters = nn.ModuleList(nn.Conv1d(config.width, config.filters, n) for n in config.lengths)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.filters * len(config.lengths), config.classes)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits of each class, (B, K), float32. Texts are padded on the right with `config.pad_id`."""
        longest = max(self.config.lengths)
        # As in the paper's code, a filter may hang over either end, so that short texts and edges are seen.
        room_BT = F.pad(tokens_BT, (longest - 1, longest - 1), value=self.config.pad_id)
        x_BCT = self.embed(room_BT).transpose(1, 2)
        real_B1T = (room_BT != self.config.pad_id).unsqueeze(1).float()
        pooled = []
        for convolve, n in zip(self.filters, self.config.lengths, strict=True):
            found_BFT = F.relu(convolve(x_BCT))
            touched_B1T = F.max_pool1d(real_B1T, n, stride=1)  # 1 where the filter touches a real token
            pooled.append((found_BFT * touched_B1T).amax(dim=2))
        logits_BK: Tensor = self.head(self.dropout(torch.cat(pooled, dim=1)))
        return logits_BK.float()

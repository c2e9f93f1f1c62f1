"""One residual block: attention, then feed-forward, each on a normalised copy of the stream (pre-norm).

B batch, T time, C width.
"""

from torch import Tensor, nn

from hanlin.model.attention import Attention
from hanlin.model.cache import LayerCache
from hanlin.model.config import CoreConfig
from hanlin.model.feedforward import FeedForward
from hanlin.model.mask import Mask
from hanlin.model.norm import build_norm
from hanlin.model.position import Rotation


class Block(nn.Module):
    """x <- x + Attention(Norm(x)); x <- x + FeedForward(Norm(x)). Source: arXiv 2002.04745, fig. 1b."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        self.attention_norm = build_norm(config)
        self.attention = Attention(config)
        self.ffn_norm = build_norm(config)
        self.ffn = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x_BTC: Tensor, rotation: Rotation | None, mask: Mask, cache: LayerCache | None
    ) -> Tensor:
        """Pass the residual stream through: (B, T, C)."""
        x_BTC = x_BTC + self.dropout(self.attention(self.attention_norm(x_BTC), rotation, mask, cache))
        out: Tensor = x_BTC + self.dropout(self.ffn(self.ffn_norm(x_BTC)))
        return out

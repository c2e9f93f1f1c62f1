"""One residual block: attention, in a decoder with an encoder cross-attention, then feed-forward.

B batch, T time, C width.
"""

from collections.abc import Callable

from torch import Tensor, nn

from hanlin.model.attention import Attention, KeysValues
from hanlin.model.cache import LayerCache
from hanlin.model.config import CoreConfig
from hanlin.model.experts import Experts
from hanlin.model.feedforward import FeedForward
from hanlin.model.mask import Mask
from hanlin.model.norm import build_norm
from hanlin.model.position import Rotation


class Block(nn.Module):
    """x <- x + f(Norm(x)), Norm(x + f(x)) or x + Norm'(f(Norm(x))) for each sub-layer f, by `norm_placement`.

    Source: arXiv 2002.04745, fig. 1 (post and pre). The sandwich's outer norms are `attention_out_norm` and
    `ffn_out_norm`.
    """

    def __init__(self, config: CoreConfig, layer: int, cross: bool = False) -> None:
        super().__init__()
        self.placement = config.norm_placement
        sandwich = self.placement == "sandwich"
        already = config.embedding_norm and self.placement == "pre" and layer == 0
        self.attention_norm = nn.Identity() if already else build_norm(config)
        self.attention = Attention(config)
        self.attention_out_norm = build_norm(config) if sandwich else nn.Identity()
        self.cross_norm = build_norm(config) if cross else None
        self.cross = Attention(config) if cross else None
        self.cross_out_norm = build_norm(config) if cross and sandwich else nn.Identity()
        self.ffn_norm = build_norm(config)
        dense = config.experts == 0 or layer in config.dense_layers
        self.ffn = FeedForward(config) if dense else Experts(config)
        self.ffn_out_norm = build_norm(config) if sandwich else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x_BTC: Tensor,
        mask: Mask,
        rotation: Rotation | None = None,
        cache: LayerCache | None = None,
        memory: KeysValues | None = None,
        memory_mask: Mask | None = None,
    ) -> Tensor:
        """Pass the residual stream through: (B, T, C). `memory`: the encoder's keys and values for `cross`."""
        x_BTC = self._residual(
            x_BTC,
            self.attention_norm,
            lambda x: self.attention(x, mask, rotation, cache),
            self.attention_out_norm,
        )
        if self.cross is not None:
            assert self.cross_norm is not None
            assert memory_mask is not None, "cross-attention needs the encoder's memory"
            cross, seen = self.cross, memory_mask
            x_BTC = self._residual(
                x_BTC, self.cross_norm, lambda x: cross(x, seen, memory=memory), self.cross_out_norm
            )
        return self._residual(x_BTC, self.ffn_norm, self.ffn, self.ffn_out_norm)

    def heads(self, x_BTC: Tensor, rotation: Rotation | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """A pass in two steps (flat.py): the queries, keys and values of self-attention, ..."""
        return self.attention.heads_of(self._read(x_BTC, self.attention_norm), rotation)

    def finish(self, x_BTC: Tensor, mixed_BTC: Tensor) -> Tensor:
        """... and all that comes after they were mixed: (B, T, C)."""
        out_BTC = self.attention.output(mixed_BTC)
        x_BTC = self._add(x_BTC, out_BTC, self.attention_norm, self.attention_out_norm)
        return self._residual(x_BTC, self.ffn_norm, self.ffn, self.ffn_out_norm)

    def _residual(
        self, x_BTC: Tensor, norm: nn.Module, layer: Callable[[Tensor], Tensor], out_norm: nn.Module
    ) -> Tensor:
        return self._add(x_BTC, layer(self._read(x_BTC, norm)), norm, out_norm)

    def _read(self, x_BTC: Tensor, norm: nn.Module) -> Tensor:
        """What a sub-layer is given."""
        read: Tensor = x_BTC if self.placement == "post" else norm(x_BTC)
        return read

    def _add(self, x_BTC: Tensor, y_BTC: Tensor, norm: nn.Module, out_norm: nn.Module) -> Tensor:
        """The residual stream with what a sub-layer made of it."""
        if self.placement == "post":
            summed: Tensor = norm(x_BTC + self.dropout(y_BTC))
            return summed
        out: Tensor = x_BTC + self.dropout(out_norm(y_BTC))
        return out

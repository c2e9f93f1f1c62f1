"""The only attention: grouped heads, with a reference that reads as the formula and a fused path.

B batch, T query time, S key time, H query heads, G key-value heads (H % G == 0), D head size, C width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hanlin.model.cache import LayerCache
from hanlin.model.config import CoreConfig
from hanlin.model.linear import products
from hanlin.model.mask import Mask
from hanlin.model.norm import build_norm
from hanlin.model.position import Rotation, rotate
from hanlin.model.sparse import KEYS

KeysValues = tuple[Tensor, Tensor]
"""Keys and values, (B, G, S, D) each."""


def attention_scores(
    q_BHTD: Tensor, k_BGSD: Tensor, mask: Mask, scale: float | None = None, softcap: float | None = None
) -> Tensor:
    """scale q k^T + bias, and minus infinity where a query may not look: (B, H, T, S), float32.

    With the default scale, 1 / sqrt(D), arXiv 1706.03762, eq. 1; grouped heads arXiv 2305.13245; softcap 2408.00118.
    """
    scale = q_BHTD.shape[-1] ** -0.5 if scale is None else scale
    k_BHSD = k_BGSD.repeat_interleave(q_BHTD.shape[1] // k_BGSD.shape[1], dim=1)
    scores_BHTS = q_BHTD.float() @ k_BHSD.float().transpose(-1, -2) * scale
    if softcap is not None:
        scores_BHTS = softcap * torch.tanh(scores_BHTS / softcap)
    if mask.bias_BHTS is not None:
        scores_BHTS = scores_BHTS + mask.bias_BHTS
    return scores_BHTS.masked_fill(~mask.allowed_BTS.unsqueeze(1), -torch.inf)


def attention_weights(
    q_BHTD: Tensor, k_BGSD: Tensor, mask: Mask, scale: float | None = None, softcap: float | None = None
) -> Tensor:
    """softmax(scores) over the keys: (B, H, T, S), float32, rows sum to 1. Source: arXiv 1706.03762, eq. 1."""
    return attention_scores(q_BHTD, k_BGSD, mask, scale, softcap).softmax(dim=-1)


def reference_attention(
    q_BHTD: Tensor,
    k_BGSD: Tensor,
    v_BGSD: Tensor,
    mask: Mask,
    scale: float | None = None,
    softcap: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Attention as the formula reads: (B, H, T, D) in q's dtype. Source: arXiv 1706.03762, eq. 1."""
    weights_BHTS = F.dropout(attention_weights(q_BHTD, k_BGSD, mask, scale, softcap), dropout)
    v_BHSD = v_BGSD.repeat_interleave(q_BHTD.shape[1] // v_BGSD.shape[1], dim=1)
    return (weights_BHTS @ v_BHSD.float()).to(q_BHTD.dtype)


def fused_attention(
    q_BHTD: Tensor,
    k_BGSD: Tensor,
    v_BGSD: Tensor,
    mask: Mask,
    scale: float | None = None,
    softcap: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """The same by torch's fused kernels, and only over keys that `mask` shows to any query nearby.

    The (T, S) scores are never held, nor the (T, S) mask where it is sparse. Kernels have no softcap: that takes
    the reference, part by part.
    """
    if mask.is_whole:
        return _whole(q_BHTD, k_BGSD, v_BGSD, mask, scale, softcap, dropout)
    if mask.documents is not None:
        return _by_document(q_BHTD, k_BGSD, v_BGSD, mask.documents, scale, softcap, dropout)
    if mask.parts is None:
        return _whole(q_BHTD, k_BGSD, v_BGSD, mask, scale, softcap, dropout)
    keys, values = torch.split(k_BGSD, KEYS, dim=2), torch.split(v_BGSD, KEYS, dim=2)
    mixed = [
        _whole(
            q_BHTD[:, :, part.queries],
            torch.cat([keys[block] for block in part.blocks], dim=2),
            torch.cat([values[block] for block in part.blocks], dim=2),
            part.mask,
            scale,
            softcap,
            dropout,
        )
        for part in mask.parts
    ]
    return torch.cat(mixed, dim=2)


def _by_document(
    q_BHTD: Tensor,
    k_BGSD: Tensor,
    v_BGSD: Tensor,
    rules: list[Mask],
    scale: float | None,
    softcap: float | None,
    dropout: float,
) -> Tensor:
    """Each packed document alone, as if nothing were before or after it."""
    lengths = [rule.query.count for rule in rules]
    # Split, not sliced: the gradient of a slice is as large as what it was cut from.
    pieces = [torch.split(x.transpose(1, 2).flatten(0, 1), lengths) for x in (q_BHTD, k_BGSD, v_BGSD)]
    mixed = []
    for rule, *piece in zip(rules, *pieces, strict=True):
        q, k, v = (x_THD.transpose(0, 1).unsqueeze(0) for x_THD in piece)
        mixed.append(fused_attention(q, k, v, rule, scale, softcap, dropout).squeeze(0).transpose(0, 1))
    B, H, T, D = q_BHTD.shape
    return torch.cat(mixed).view(B, T, H, D).transpose(1, 2)


def _whole(
    q_BHTD: Tensor,
    k_BGSD: Tensor,
    v_BGSD: Tensor,
    mask: Mask,
    scale: float | None,
    softcap: float | None,
    dropout: float,
) -> Tensor:
    if softcap is not None:
        return reference_attention(q_BHTD, k_BGSD, v_BGSD, mask, scale, softcap, dropout)
    fused = mask.fused(q_BHTD.dtype)
    return F.scaled_dot_product_attention(
        q_BHTD,
        k_BGSD,
        v_BGSD,
        attn_mask=fused,
        dropout_p=dropout,
        is_causal=fused is None and mask.plainly_causal and q_BHTD.shape[-2] > 1,
        scale=scale,
        enable_gqa=q_BHTD.shape[1] != k_BGSD.shape[1],
    )


class Attention(nn.Module):
    """Multi-head attention: Concat(head_1 .. head_H) W_O. Source: arXiv 1706.03762, section 3.2.2."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_size = config.heads, config.kv_heads, config.head_size
        self.dropout, self.pairs = config.attention_dropout, config.position_pairs
        self.scale, self.softcap = config.attention_scale, config.attention_softcap
        self.attend = fused_attention
        queries, keys = config.heads * config.head_size, config.kv_heads * config.head_size
        self.query = nn.Linear(config.width, queries, bias=config.qkv_bias)
        self.key = nn.Linear(config.width, keys, bias=config.qkv_bias)
        self.value = nn.Linear(config.width, keys, bias=config.qkv_bias)
        self.output = nn.Linear(queries, config.width, bias=config.output_bias)
        self.query_norm = build_norm(config, config.head_size) if config.qk_norm else None
        self.key_norm = build_norm(config, config.head_size) if config.qk_norm else None

    def keys_values(self, x_BSC: Tensor, rotation: Rotation | None = None) -> KeysValues:
        """What the tokens of `x_BSC` offer to be looked at."""
        k_BSC, v_BSC = products(x_BSC, self.key, self.value)
        return self._heads(k_BSC, self.key_norm, rotation), self._heads(v_BSC)

    def queries(self, x_BTC: Tensor, rotation: Rotation | None = None) -> Tensor:
        """What the tokens of `x_BTC` look for: (B, H, T, D)."""
        return self._heads(self.query(x_BTC), self.query_norm, rotation)

    def heads_of(self, x_BTC: Tensor, rotation: Rotation | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, T, D), keys and values (B, G, T, D) of the same tokens."""
        q_BTC, k_BTC, v_BTC = products(x_BTC, self.query, self.key, self.value)
        q_BHTD = self._heads(q_BTC, self.query_norm, rotation)
        return q_BHTD, self._heads(k_BTC, self.key_norm, rotation), self._heads(v_BTC)

    def _heads(
        self, x_BTC: Tensor, norm: nn.Module | None = None, rotation: Rotation | None = None
    ) -> Tensor:
        """Queries, keys or values by head, normed and turned: (B, H or G, T, D)."""
        x_BTHD = x_BTC.view(*x_BTC.shape[:-1], -1, self.head_size)
        if norm is not None:
            x_BTHD = norm(x_BTHD)
        if rotation is not None:
            x_BTHD = rotate(x_BTHD, rotation, self.pairs)
        return x_BTHD.transpose(1, 2)

    def forward(
        self,
        x_BTC: Tensor,
        mask: Mask,
        rotation: Rotation | None = None,
        cache: LayerCache | None = None,
        memory: KeysValues | None = None,
    ) -> Tensor:
        """Mix each position with those that `mask` lets it see: (B, T, C).

        The keys are the tokens themselves, after those in `cache`; or `memory` (cross-attention).
        """
        if memory is None:
            q_BHTD, k_BGSD, v_BGSD = self.heads_of(x_BTC, rotation)
        else:
            q_BHTD, (k_BGSD, v_BGSD) = self.queries(x_BTC, rotation), memory
        if cache is not None:
            k_BGSD, v_BGSD = cache.append(k_BGSD, v_BGSD, mask.key.count)
        dropout = self.dropout if self.training else 0.0
        mixed_BHTD = self.attend(q_BHTD, k_BGSD, v_BGSD, mask, self.scale, self.softcap, dropout)
        out: Tensor = self.output(mixed_BHTD.transpose(1, 2).flatten(-2))
        return out

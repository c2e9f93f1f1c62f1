"""The only attention: grouped heads, with a reference that reads as the formula and a fused path.

B batch, T query time, S key time, H query heads, G key-value heads (H % G == 0), D head size, C width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hanlin.model.cache import LayerCache
from hanlin.model.config import CoreConfig
from hanlin.model.mask import Mask
from hanlin.model.position import Rotation, rotate


def attention_weights(q_BHTD: Tensor, k_BGSD: Tensor, mask: Mask) -> Tensor:
    """softmax(q k^T / sqrt(D)) over the allowed keys: (B, H, T, S), float32, rows sum to 1.

    Source: arXiv 1706.03762, eq. 1; grouped heads arXiv 2305.13245.
    """
    H, G, D = q_BHTD.shape[1], k_BGSD.shape[1], q_BHTD.shape[-1]
    k_BHSD = k_BGSD.repeat_interleave(H // G, dim=1)
    scores_BHTS = q_BHTD.float() @ k_BHSD.float().transpose(-1, -2) / math.sqrt(D)
    allowed = mask.dense(scores_BHTS.shape[-2], scores_BHTS.shape[-1], scores_BHTS.device)
    allowed = allowed if allowed.dim() == 2 else allowed.unsqueeze(1)
    return scores_BHTS.masked_fill(~allowed, -torch.inf).softmax(dim=-1)


def reference_attention(q_BHTD: Tensor, k_BGSD: Tensor, v_BGSD: Tensor, mask: Mask, dropout: float) -> Tensor:
    """Attention as the formula reads: (B, H, T, D) in q's dtype. Source: arXiv 1706.03762, eq. 1."""
    weights_BHTS = F.dropout(attention_weights(q_BHTD, k_BGSD, mask), dropout)
    v_BHSD = v_BGSD.repeat_interleave(q_BHTD.shape[1] // v_BGSD.shape[1], dim=1)
    return (weights_BHTS @ v_BHSD.float()).to(q_BHTD.dtype)


def fused_attention(q_BHTD: Tensor, k_BGSD: Tensor, v_BGSD: Tensor, mask: Mask, dropout: float) -> Tensor:
    """The same by torch's fused kernels, which never hold the (T, S) scores."""
    return F.scaled_dot_product_attention(
        q_BHTD,
        k_BGSD,
        v_BGSD,
        attn_mask=None if mask.allowed_BTS is None else mask.allowed_BTS.unsqueeze(1),
        dropout_p=dropout,
        is_causal=mask.causal and mask.allowed_BTS is None and q_BHTD.shape[-2] > 1,
        enable_gqa=q_BHTD.shape[1] != k_BGSD.shape[1],
    )


class Attention(nn.Module):
    """Multi-head self-attention: Concat(head_1 .. head_H) W_O. Source: arXiv 1706.03762, section 3.2.2."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_size = config.heads, config.kv_heads, config.head_size
        self.dropout = config.dropout
        self.attend = fused_attention
        self.query = nn.Linear(config.width, config.heads * config.head_size, bias=config.bias)
        self.key = nn.Linear(config.width, config.kv_heads * config.head_size, bias=config.bias)
        self.value = nn.Linear(config.width, config.kv_heads * config.head_size, bias=config.bias)
        self.output = nn.Linear(config.heads * config.head_size, config.width, bias=config.bias)

    def forward(
        self, x_BTC: Tensor, rotation: Rotation | None, mask: Mask, cache: LayerCache | None
    ) -> Tensor:
        """Mix each position with those that `mask` lets it see: (B, T, C)."""
        q_BTHD = self.query(x_BTC).unflatten(-1, (self.heads, self.head_size))
        k_BTGD = self.key(x_BTC).unflatten(-1, (self.kv_heads, self.head_size))
        v_BGTD = self.value(x_BTC).unflatten(-1, (self.kv_heads, self.head_size)).transpose(1, 2)
        if rotation is not None:
            q_BTHD, k_BTGD = rotate(q_BTHD, rotation), rotate(k_BTGD, rotation)
        k_BGSD, v_BGSD = k_BTGD.transpose(1, 2), v_BGTD
        if cache is not None:
            k_BGSD, v_BGSD = cache.append(k_BGSD, v_BGSD)
        dropout = self.dropout if self.training else 0.0
        mixed_BHTD = self.attend(q_BTHD.transpose(1, 2), k_BGSD, v_BGSD, mask, dropout)
        out: Tensor = self.output(mixed_BHTD.transpose(1, 2).flatten(-2))
        return out

"""The peer that everyone knows: a GPT in a hundred lines of plain PyTorch, with plain AdamW.

Our own words, after the manner of nanoGPT: one product for queries, keys and values, torch's fused attention, whole
logits and `F.cross_entropy`. The same equations as `style: gpt2` here.

B batch, T time, C width, H heads, D head size, V vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x_BTC: Tensor) -> Tensor:
        B, T, C = x_BTC.shape
        qkv_BTC = self.qkv(self.norm_1(x_BTC)).split(C, dim=2)
        q, k, v = (y.view(B, T, self.heads, C // self.heads).transpose(1, 2) for y in qkv_BTC)
        mixed_BHTD = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x_BTC = x_BTC + self.out(mixed_BHTD.transpose(1, 2).contiguous().view(B, T, C))
        inner = F.gelu(self.up(self.norm_2(x_BTC)), approximate="tanh")
        out: Tensor = x_BTC + self.down(inner)
        return out


class GPT(nn.Module):
    def __init__(self, vocab_size: int, width: int, layers: int, heads: int, window: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocab_size, width), nn.Embedding(window, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size, bias=False)
        self.tokens.weight = self.head.weight
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                std = 0.02 / (2 * layers) ** 0.5 if name.endswith(("out.weight", "down.weight")) else 0.02
                nn.init.normal_(parameter, std=std)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """The mean loss of a batch."""
        x_BTC = self.tokens(tokens_BT) + self.positions(torch.arange(tokens_BT.shape[1]))
        for block in self.blocks:
            x_BTC = block(x_BTC)
        logits_BTV = self.head(self.norm(x_BTC))
        return F.cross_entropy(logits_BTV.view(-1, logits_BTV.shape[-1]), targets_BT.reshape(-1))


class Training:
    """One training run: AdamW as torch has it, fused, with decay on matrices only; clipping at 1."""

    def __init__(self, model: GPT, rate: float = 1e-3, compiled: bool = False) -> None:
        self.model = model
        matrices = [p for p in model.parameters() if p.dim() >= 2]
        others = [p for p in model.parameters() if p.dim() < 2]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), fused=True)
        self.run = torch.compile(model) if compiled else model

    def step(self, tokens_BT: Tensor, targets_BT: Tensor) -> float:
        """Lower the loss of a batch once; the loss."""
        loss = self.run(tokens_BT, targets_BT)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return float(loss.detach())

"""Mixture of experts: a feed-forward layer of which each token passes through a few parts only.

B batch, T time, N = B x T tokens, C width, E experts, K experts of one token.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hanlin.model.config import CoreConfig
from hanlin.model.feedforward import FeedForward


class Experts(nn.Module):
    """sum over the top-k experts e of p_e(x) FFN_e(x), p = softmax(x W_router). Source: arXiv 2401.04088, 2.1.

    While training, `balance` holds the load-balancing loss of the last forward pass.
    """

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        self.per_token, self.normalize = config.experts_per_token, config.router_normalize
        self.router = nn.Linear(config.width, config.experts, bias=False)
        self.experts = nn.ModuleList(FeedForward(config, config.expert_width) for _ in range(config.experts))
        self.balance: Tensor | None = None

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Transform each position alone: (B, T, C)."""
        x_NC = x_BTC.flatten(0, -2)
        weights_NK, chosen_NK, probabilities_NE = self.route(x_NC)
        out_NC = torch.zeros_like(x_NC)
        for index, expert in enumerate(self.experts):
            tokens, slots = torch.where(chosen_NK == index)
            # While training, one that no token has chosen learns zero: it has a gradient in every process alike.
            if len(tokens) or self.training:
                part = expert(x_NC[tokens]) * weights_NK[tokens, slots, None].to(x_NC.dtype)
                out_NC = out_NC.index_add(0, tokens, part.to(x_NC.dtype))
        self.balance = balance_loss(probabilities_NE, chosen_NK) if self.training else None
        return out_NC.view_as(x_BTC)

    def route(self, x_NC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weights (N, K) and numbers (N, K) of the chosen experts, and all probabilities (N, E), in float32."""
        probabilities_NE = F.softmax(self.router(x_NC).float(), dim=-1)
        weights_NK, chosen_NK = probabilities_NE.topk(self.per_token, dim=-1)
        if self.normalize:
            weights_NK = weights_NK / weights_NK.sum(-1, keepdim=True)
        return weights_NK, chosen_NK, probabilities_NE


def balance_loss(probabilities_NE: Tensor, chosen_NK: Tensor) -> Tensor:
    """E x sum_e f_e P_e: f_e the choices of expert e per token, P_e its mean probability. K when even.

    Source: arXiv 2101.03961, eq. 4-6 (there K = 1). `transformers` has the same for one layer; of several it multiplies
    the means over all layers, so that one layer's lopsidedness can hide another's. The mean over layers here cannot.
    """
    E = probabilities_NE.shape[1]
    share_E = F.one_hot(chosen_NK, E).sum(1).float().mean(0)
    return E * (share_E * probabilities_NE.mean(0)).sum()

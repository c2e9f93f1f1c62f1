"""What a model ends in: scores over the vocabulary, over labels, for both ends of a span, or one number for each text.

B batch, T time, C width, V vocabulary, K labels.
"""

import torch
from torch import Tensor, nn

from hanlin.model.config import CoreConfig
from hanlin.model.feedforward import ACTIVATIONS
from hanlin.model.norm import build_norm

OVER_VOCABULARY = ("lm", "masked", "pretraining")
"""The heads whose output is a score for each token of the vocabulary."""


OF_TOKENS = ("tag", "span")
"""Those that judge each token."""


class Transform(nn.Module):
    """Norm(act(W h)), before the output of masked language models. Source: BERT, arXiv 1810.04805, its code."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width, bias=config.ffn_bias)
        self.activation = ACTIVATIONS[config.activation]
        self.norm = build_norm(config)

    def forward(self, hidden_BTC: Tensor) -> Tensor:
        """Transform each vector alone: same shape."""
        out: Tensor = self.norm(self.activation(self.dense(hidden_BTC)))
        return out


class TanhPooler(nn.Module):
    """tanh(W h) of the vector that stands for a text. Source: BERT, arXiv 1810.04805, its code."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width)

    def forward(self, hidden_BC: Tensor) -> Tensor:
        """Transform each vector alone: same shape."""
        return torch.tanh(self.dense(hidden_BC))


def build_transform(config: CoreConfig) -> nn.Module | None:
    """What stands between the last hidden state and the output over the vocabulary."""
    return Transform(config) if config.head in ("masked", "pretraining") else None


def build_pooler(config: CoreConfig) -> nn.Module | None:
    """What stands between the pooled hidden state and its use."""
    if config.pooler == "none":
        return None
    return TanhPooler(config) if config.pooler == "tanh" else Transform(config)


def build_output(config: CoreConfig) -> nn.Linear | None:
    """The last linear layer: V, K, 2 (the beginning and the end of a span) or 1 outputs."""
    if config.head == "none":
        return None
    if config.head in OVER_VOCABULARY:
        return nn.Linear(config.width, config.vocab_size, bias=config.head_bias)
    outputs = {"regress": 1, "span": 2}.get(config.head, config.labels)
    # As the ecosystem has them: a decoder's judgement of a whole text is a plain product.
    return nn.Linear(config.width, outputs, bias=config.assembly == "encoder" or config.head in OF_TOKENS)


def build_transitions(config: CoreConfig) -> nn.Linear | None:
    """Scores of one label after another: from a label, as one-hot vector, to those of the next.

    Number K stands for what is before the first token and after the last one.
    """
    return nn.Linear(config.labels + 1, config.labels + 1, bias=False) if config.crf else None


def pool(hidden_BTC: Tensor, pooling: str, documents_BT: Tensor | None = None) -> Tensor:
    """One vector a row, (B, C): that of its first or last token, or the mean over its tokens.

    documents_BT: -1 marks padding, on either side, which does not count.
    """
    B, T, _ = hidden_BTC.shape
    device = hidden_BTC.device
    real_BT = torch.ones(B, T, device=device) if documents_BT is None else (documents_BT >= 0).float()
    if pooling == "mean":
        mean_BC = (hidden_BTC * real_BT.unsqueeze(2)).sum(1) / real_BT.sum(1, keepdim=True).clamp(min=1)
        return mean_BC.to(hidden_BTC.dtype)
    places_T = torch.arange(1, T + 1, device=device)
    order_BT = real_BT * (places_T if pooling == "last" else places_T.flip(0))
    return hidden_BTC[torch.arange(B, device=device), order_BT.argmax(1)]

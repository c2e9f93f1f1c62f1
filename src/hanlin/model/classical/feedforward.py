"""The feed-forward language model of Bengio et al. 2003 (JMLR 3): the first neural one, and not a recurrent one.

B batch, T time, C width, N context, H hidden width, V vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hanlin.model.classical.config import FeedForwardConfig
from hanlin.model.classical.embed import TokenVectors


class FeedForwardLanguageModel(nn.Module):
    """y = b + W x + U tanh(d + H x), x the vectors of the last N tokens side by side (eq. 1).

    W, the direct connections, are there if `config.direct`. [U W] is one matrix here, the head. Places before
    the begin of a document are zero vectors.
    """

    def __init__(self, config: FeedForwardConfig) -> None:
        super().__init__()
        self.config = config
        seen = config.context * config.width
        self.embed = TokenVectors(config.vocab_size, config.width)
        self.blocks = nn.ModuleList([nn.Linear(seen, config.hidden)])
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden + (seen if config.direct else 0), config.vocab_size)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(
        self, tokens_BT: Tensor, positions_BT: Tensor | None = None, documents_BT: Tensor | None = None
    ) -> Tensor:
        """Logits of the next token at each position: (B, T, V), float32. Arguments as for `hidden`."""
        return self.logits(self.hidden(tokens_BT, positions_BT, documents_BT))

    def logits(self, hidden_BTC: Tensor) -> Tensor:
        """Scores of the next token from states: (..., V), float32."""
        logits_BTV: Tensor = self.head(hidden_BTC)
        return logits_BTV.float()

    def hidden(
        self, tokens_BT: Tensor, positions_BT: Tensor | None = None, documents_BT: Tensor | None = None
    ) -> Tensor:
        """tanh(d + H x), followed by x if there are direct connections: (B, T, H) or (B, T, H + N C).

        positions_BT is not looked at: the place in x tells how far back a token is. documents_BT: a number
        for each packed document; tokens of another document are as if they were not there.
        """
        x_BTC = self.embed(tokens_BT)
        x_BTX = torch.cat([_shift(x_BTC, documents_BT, k) for k in range(self.config.context)], dim=-1)
        h_BTH = self.dropout(torch.tanh(self.blocks[0](x_BTX)))
        return torch.cat([h_BTH, x_BTX], dim=-1) if self.config.direct else h_BTH


def _shift(x_BTC: Tensor, documents_BT: Tensor | None, k: int) -> Tensor:
    """The vector k places earlier in the same document; zeros where there is none."""
    T = x_BTC.shape[1]
    shifted_BTC = F.pad(x_BTC, (0, 0, k, 0))[:, :T]
    if documents_BT is None or k == 0:
        return shifted_BTC
    same_BT = F.pad(documents_BT, (k, 0), value=-1)[:, :T] == documents_BT
    return shifted_BTC * same_BT.unsqueeze(-1)

"""Recurrent language models (Mikolov et al. 2010): Elman, LSTM and GRU cells over token vectors.

B batch, T time, C width, H hidden width, V vocabulary; N = B x T tokens, R runs (the documents of each row),
S length of the longest run.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from hanlin.model.classical.config import RecurrentConfig
from hanlin.model.classical.embed import TokenVectors

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class RecurrentLanguageModel(nn.Module):
    """h_t = cell(sqrt(C) x_t, h_{t-1}); logits_t = E (P h_t): everything before t has to pass through h_t.

    P brings the state back to the width of the embedding, so that E can be shared with it.
    """

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = TokenVectors(config.vocab_size, config.width)
        widths = [config.width] + [config.hidden] * (config.layers - 1)
        self.blocks = nn.ModuleList(
            CELLS[config.cell](width, config.hidden, batch_first=True) for width in widths
        )
        self.project = nn.Linear(config.hidden, config.width, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        if config.tied:
            self.head.weight = self.embed.token.weight
        self._initialize()

    def _initialize(self) -> None:
        """Cells as torch has them, uniform in +-1 / sqrt(H), but the forget gates open (Jozefowicz et al. 2015).

        Vectors small enough for the head, and large enough for the cells: those see them times sqrt(C).
        """
        for table in (self.embed.token, self.head):
            nn.init.normal_(table.weight, std=1 / math.sqrt(self.config.width))
        if self.config.cell == "lstm":
            H = self.config.hidden
            for block in self.blocks:
                bias_4H = block.get_parameter("bias_hh_l0")
                nn.init.ones_(bias_4H.data[H : 2 * H])  # torch's order: input, forget, cell, output

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
        """The projected state after each token, (B, T, C). Every row begins with a state of zeros.

        positions_BT is not looked at: the recurrence itself is the order. documents_BT: a number for each
        packed document; the state begins anew with each.
        """
        x_BTC = self.embed(tokens_BT) * math.sqrt(self.config.width)
        if documents_BT is None:
            for block in self.blocks:
                x_BTC = self.dropout(block(x_BTC)[0])
        else:
            order_N, sizes_S = time_major(documents_BT)
            x_NC = x_BTC.flatten(0, 1)[order_N]
            for block in self.blocks:
                x_NC = self.dropout(block(PackedSequence(x_NC, sizes_S))[0].data)
            x_BTC = x_NC[order_N.argsort()].unflatten(0, tokens_BT.shape)
        out: Tensor = self.project(x_BTC)
        return out


def time_major(documents_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Every run of one document as a sequence of its own, in the order that torch's packed kernels read.

    Returns order_N, the flat places of all tokens: the first token of each run, longest run first, then the
    second of each that has one, and so on; and sizes_S (int64, CPU), how many runs have an s-th token. No padding.
    """
    B, T = documents_BT.shape
    times_BT = torch.arange(T, device=documents_BT.device).expand(B, T)
    fresh_BT = torch.ones_like(documents_BT, dtype=torch.bool)
    fresh_BT[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    place_N = (times_BT - torch.where(fresh_BT, times_BT, 0).cummax(dim=1).values).flatten()
    run_N = fresh_BT.flatten().cumsum(dim=0) - 1
    rank_R = run_N.bincount().argsort(descending=True).argsort()
    order_N = (place_N * len(rank_R) + rank_R[run_N]).argsort()
    return order_N, place_N.bincount().cpu()

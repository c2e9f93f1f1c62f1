"""The encoder-decoder assembly: P(y_t | y_<t, x) for every t. Source: arXiv 1706.03762.

B batch, S source time, T target time, C width, V vocabulary.
"""

import torch
from torch import Tensor, nn

from hanlin.model.attention import KeysValues
from hanlin.model.cache import KeyValueCache
from hanlin.model.config import CoreConfig
from hanlin.model.initialize import initialize
from hanlin.model.stack import Stack


class Memory:
    """What a decoder looks at of one batch of sources: each block's keys and values, and where padding is."""

    def __init__(self, keys_values: list[KeysValues], documents_BS: Tensor | None) -> None:
        self.keys_values, self.documents_BS = keys_values, documents_BS


class Seq2Seq(nn.Module):
    """An encoder, and a decoder whose blocks look at it; both embed tokens by one table.

    The 2017 Transformer, Marian, BART and T5 are settings of it.
    """

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        assert config.assembly == "seq2seq"
        self.config = config
        self.encoder = Stack(config, layers=config.layers, causal=False)
        self.decoder = Stack(
            config, layers=config.decoder_layers, causal=True, cross=True, token=self.encoder.embed.token
        )
        self.head = nn.Linear(config.width, config.vocab_size, bias=config.head_bias)
        self.tie()
        initialize(self)

    def tie(self) -> None:
        """Share the embedding between the two stacks and, where the settings say so, with the head."""
        self.decoder.embed.token = self.encoder.embed.token
        if self.config.tied:
            self.head.weight = self.encoder.embed.token.weight

    def forward(
        self,
        source_BS: Tensor,
        tokens_BT: Tensor,
        source_documents_BS: Tensor | None = None,
        documents_BT: Tensor | None = None,
    ) -> Tensor:
        """Logits of the next target token at each position: (B, T, V), float32.

        tokens_BT: the target shifted right by one (`shift_right`). documents: -1 marks padding.
        """
        memory = self.encode(source_BS, source_documents_BS)
        return self.logits(self.hidden(tokens_BT, memory, documents_BT=documents_BT))

    def encode(self, source_BS: Tensor, documents_BS: Tensor | None = None) -> Memory:
        """Read the sources once; every step of decoding looks at the result."""
        encoded_BSC = self.encoder.hidden(source_BS, documents_BT=documents_BS)
        return Memory(
            [layer.keys_values(encoded_BSC) for layer in self.decoder.cross_attentions()], documents_BS
        )

    def hidden(
        self,
        tokens_BT: Tensor,
        memory: Memory,
        cache: KeyValueCache | None = None,
        documents_BT: Tensor | None = None,
    ) -> Tensor:
        """The decoder's last hidden state, (B, T, C); arguments as for `Stack.hidden`."""
        return self.decoder.hidden(
            tokens_BT,
            documents_BT=documents_BT,
            cache=cache,
            memory=memory.keys_values,
            memory_documents_BS=memory.documents_BS,
        )

    def logits(self, hidden_BTC: Tensor) -> Tensor:
        """Scores over the vocabulary: (..., V), float32."""
        logits_BTV: Tensor = self.head(self.head_input(hidden_BTC)).float()
        cap = self.config.logit_softcap
        return logits_BTV if cap is None else cap * torch.tanh(logits_BTV / cap)

    def head_input(self, hidden_BTC: Tensor) -> Tensor:
        """What the output over the vocabulary is a linear function of (but for a softcap): the same shape."""
        return hidden_BTC if self.config.head_scale == 1 else hidden_BTC * self.config.head_scale


def shift_right(targets_BT: Tensor, start_id: int) -> Tensor:
    """What the decoder reads so that position t predicts target t: the start token, then all targets but the last."""
    start_B1 = torch.full_like(targets_BT[:, :1], start_id)
    return torch.cat((start_B1, targets_BT[:, :-1]), dim=1)

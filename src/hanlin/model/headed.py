"""One stack with a head: what decoder-only and encoder-only models have in common.

B batch, T time, C width, V vocabulary, K labels.
"""

from typing import cast

import torch
from torch import Tensor, nn

from hanlin.model.cache import KeyValueCache
from hanlin.model.config import CoreConfig
from hanlin.model.heads import (
    OF_TOKENS,
    OVER_VOCABULARY,
    build_output,
    build_pooler,
    build_transform,
    build_transitions,
    pool,
)
from hanlin.model.initialize import initialize
from hanlin.model.stack import Stack


class Headed(Stack):
    """A stack whose last hidden state becomes logits, labels or one number, as `config.head` says."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__(config, layers=config.layers, causal=config.assembly == "decoder")
        self.transform = build_transform(config)
        self.pooler = build_pooler(config)
        self.next_sentence = nn.Linear(config.width, 2) if config.head == "pretraining" else None
        self.output_dropout = nn.Dropout(config.dropout)
        self.head = build_output(config)
        self.transitions = build_transitions(config)
        self.tie()
        initialize(self)

    def tie(self) -> None:
        """Share the embedding's weights with the output over the vocabulary, where the settings say so."""
        if self.config.tied and self.config.head in OVER_VOCABULARY:
            cast(nn.Linear, self.head).weight = self.embed.token.weight

    def forward(
        self,
        tokens_BT: Tensor,
        positions_BT: Tensor | None = None,
        documents_BT: Tensor | None = None,
        cache: KeyValueCache | None = None,
        *,
        segments_BT: Tensor | None = None,
        prefix_B: Tensor | None = None,
    ) -> Tensor:
        """What the head says, float32; arguments as for `hidden`.

        (B, T, V) logits for lm, masked and pretraining; (B, K) for classify, (B, T, K) for tag, (B, T, 2) for span,
        (B,) for regress; the hidden state (B, T, C) for none.
        """
        hidden_BTC = self.hidden(
            tokens_BT, positions_BT, documents_BT, cache, segments_BT=segments_BT, prefix_B=prefix_B
        )
        if self.head is None:
            return hidden_BTC
        if self.config.head in OVER_VOCABULARY:
            return self.logits(hidden_BTC)
        return self.judge(hidden_BTC, documents_BT)

    def judge(self, hidden_BTC: Tensor, documents_BT: Tensor | None = None) -> Tensor:
        """What classify (B, K), tag (B, T, K), span (B, T, 2) or regress (B,) say of last hidden states, float32."""
        assert self.head is not None
        if self.config.head not in OF_TOKENS:
            judged = self.pooled(hidden_BTC, documents_BT)
        else:
            judged = hidden_BTC if self.pooler is None else self.pooler(hidden_BTC)
        # As BERT's own code has it, nothing is dropped before the two scores of a span.
        judged = judged if self.config.head == "span" else self.output_dropout(judged)
        scores: Tensor = self.head(judged).float()
        return scores.squeeze(-1) if self.config.head == "regress" else scores

    def logits(self, hidden_BTC: Tensor) -> Tensor:
        """Scores over the vocabulary: (..., V), float32."""
        assert self.head is not None
        assert self.config.head in OVER_VOCABULARY, (
            f"head {self.config.head} has no scores over the vocabulary"
        )
        logits_BTV: Tensor = self.head(self.head_input(hidden_BTC)).float()
        cap = self.config.logit_softcap
        return logits_BTV if cap is None else cap * torch.tanh(logits_BTV / cap)

    def head_input(self, hidden_BTC: Tensor) -> Tensor:
        """What the output over the vocabulary is a linear function of (but for a softcap): the same shape."""
        if self.transform is not None:
            hidden_BTC = self.transform(hidden_BTC)
        return hidden_BTC if self.config.head_scale == 1 else hidden_BTC * self.config.head_scale

    def pooled(self, hidden_BTC: Tensor, documents_BT: Tensor | None = None) -> Tensor:
        """The vector that stands for each text, through the pooler if there is one: (B, C)."""
        vector_BC = pool(hidden_BTC, self.config.pooling, documents_BT)
        return vector_BC if self.pooler is None else self.pooler(vector_BC)

    def next_sentence_logits(self, hidden_BTC: Tensor, documents_BT: Tensor | None = None) -> Tensor:
        """Scores of "the second sentence follows" and "it does not": (B, 2), float32. Source: arXiv 1810.04805, 3.1."""
        assert self.next_sentence is not None, "only the pretraining head judges sentence pairs"
        scores_B2: Tensor = self.next_sentence(self.pooled(hidden_BTC, documents_BT))
        return scores_B2.float()

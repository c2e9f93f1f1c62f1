"""The decoder-only assembly: embedding, a stack of blocks, a final norm, the output head.

B batch, T time, C width, V vocabulary.
"""

import torch
from torch import Tensor, nn

from hanlin.base.errors import RequestError
from hanlin.base.language import Text
from hanlin.model.block import Block
from hanlin.model.cache import KeyValueCache
from hanlin.model.config import CoreConfig
from hanlin.model.embed import Embedding
from hanlin.model.initialize import initialize
from hanlin.model.mask import cached_mask, causal_mask
from hanlin.model.norm import build_norm
from hanlin.model.position import RotaryTable


class Decoder(nn.Module):
    """P(x_t | x_<t) for every t. GPT-2 and Llama are settings of it."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        assert config.vocab_size > 0, "the caller sets vocab_size from the tokenizer"
        self.config = config
        self.embed = Embedding(config)
        self.rotary = RotaryTable(config) if config.position == "rotary" else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = build_norm(config)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        self._tie()
        initialize(self)

    @classmethod
    def empty(cls, config: CoreConfig, device: torch.device) -> "Decoder":
        """A model whose parameters have memory but no values yet: for loading weights into."""
        with torch.device("meta"):
            model = cls(config)
        model.to_empty(device=device)
        model._tie()
        if model.rotary is not None:
            model.rotary.fill()
        return model

    def _tie(self) -> None:
        if self.config.tied:
            self.head.weight = self.embed.token.weight

    def forward(
        self,
        tokens_BT: Tensor,
        positions_BT: Tensor | None = None,
        documents_BT: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Logits of the next token at each position: (B, T, V), float32. Arguments as for `hidden`."""
        logits_BTV: Tensor = self.head(self.hidden(tokens_BT, positions_BT, documents_BT, cache))
        return logits_BTV.float()

    def hidden(
        self,
        tokens_BT: Tensor,
        positions_BT: Tensor | None = None,
        documents_BT: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """The normalised last hidden state, (B, T, C).

        tokens_BT: ids, int64. positions_BT: place of each token in its document (default 0 .. T-1, or after
        what the cache holds). documents_BT: a number for each packed document; attention stays within equal
        numbers. cache: tokens are appended to its B rows, see all that they hold, and its lengths advance.
        Raises `RequestError` when a position would lie beyond `config.window`.
        """
        T = tokens_BT.shape[1]
        lengths = [0] if cache is None else cache.lengths_B.tolist()
        self._check_window(max(lengths) + T)
        if cache is None:
            mask = causal_mask(documents_BT)
        else:
            assert documents_BT is None, "cached rows hold one document each"
            mask = cached_mask(lengths, T, tokens_BT.device)
            if positions_BT is None:
                start_B1 = cache.lengths_B.to(tokens_BT.device).unsqueeze(1)
                positions_BT = start_B1 + torch.arange(T, device=tokens_BT.device)
        rotation = None
        if self.rotary is not None:
            rotation = self.rotary(T if positions_BT is None else positions_BT)
        x_BTC = self.embed(tokens_BT, positions_BT)
        for index, block in enumerate(self.blocks):
            x_BTC = block(x_BTC, rotation, mask, None if cache is None else cache.layer(index, lengths))
        if cache is not None:
            cache.lengths_B += T
        out: Tensor = self.norm(x_BTC)
        return out

    def _check_window(self, length: int) -> None:
        if length > self.config.window:
            raise RequestError(
                Text(
                    f"{length} tokens do not fit this model's window of {self.config.window}.",
                    f"{length} 个词元超过了该模型的窗口 {self.config.window}。",
                ),
                Text(
                    "Shorten the text, or use a model with a longer window.",
                    "请缩短文本，或换用窗口更长的模型。",
                ),
            )

"""A stack: embedding, blocks, final norm. Decoder, encoder and encoder-decoder are made of it.

B batch, T time, S time of the encoder, C width.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hanlin.base.errors import RequestError
from hanlin.base.language import Text
from hanlin.model.adapters.prefix import PrefixCache, Prefixes
from hanlin.model.attention import Attention, KeysValues
from hanlin.model.bias import build_bias
from hanlin.model.block import Block
from hanlin.model.cache import KeyValueCache
from hanlin.model.config import CoreConfig
from hanlin.model.embed import Embedding
from hanlin.model.experts import Experts
from hanlin.model.mask import Mask, cached_mask, memory_mask, self_mask
from hanlin.model.norm import build_norm
from hanlin.model.position import RotaryTable, Rotation


class Stack(nn.Module):
    """x <- Block_l(x) for l = 1 .. layers, on embedded tokens; a final norm unless blocks end in one (post-norm).

    prefixes: what adapters put before the tokens of every block. checkpointing: whether a training pass keeps only what
    comes into each block but the last and computes the rest again for its gradients (arXiv 1604.06174).
    """

    def __init__(
        self,
        config: CoreConfig,
        *,
        layers: int,
        causal: bool,
        cross: bool = False,
        token: nn.Embedding | None = None,
    ) -> None:
        super().__init__()
        assert config.vocab_size > 0, "the caller sets vocab_size from the tokenizer"
        self.config, self.causal = config, causal
        self.embed = Embedding(config, token)
        self.rotary, self.rotary_local = _rotary_tables(config)
        self.bias = build_bias(config, causal)
        self.blocks = nn.ModuleList(Block(config, layer, cross) for layer in range(layers))
        self.norm = nn.Identity() if config.norm_placement == "post" else build_norm(config)
        self.prefixes: Prefixes | None = None
        self.checkpointing = False

    def hidden(
        self,
        tokens_BT: Tensor,
        positions_BT: Tensor | None = None,
        documents_BT: Tensor | None = None,
        cache: KeyValueCache | None = None,
        *,
        segments_BT: Tensor | None = None,
        prefix_B: Tensor | None = None,
        memory: Sequence[KeysValues] = (),
        memory_documents_BS: Tensor | None = None,
    ) -> Tensor:
        """The normalised last hidden state, (B, T, C).

        tokens_BT: ids, int64. positions_BT: place of each token in its document (default 0 .. T-1, or after
        what the cache holds). documents_BT: a number for each packed document, -1 for padding; attention stays
        within equal numbers. cache: tokens are appended to its B rows, see all that they hold, and its lengths
        advance. segments_BT: BERT's sentence numbers. prefix_B: so many first tokens of a row are visible to
        all of it (prefix language model). memory: what each block's cross-attention looks at, of the
        encoder's tokens `memory_documents_BS`.
        Raises `RequestError` when a position would lie beyond `config.window`.
        """
        (B, T), device = tokens_BT.shape, tokens_BT.device
        if self.prefixes is not None:
            cache = self.prefixes.before(B, cache)
        lengths = [0] if cache is None else cache.lengths_B.tolist()
        self._check_window(max(lengths) + _longest(T, positions_BT, documents_BT, self.config.window))
        if cache is None:
            mask = self_mask(
                T,
                device,
                causal=self.causal,
                positions_BT=positions_BT,
                documents_BT=documents_BT,
                prefix_B=prefix_B,
            )
        elif isinstance(cache, PrefixCache):
            assert prefix_B is None, "a learned prefix stands where a visible prefix of tokens would"
            positions_BT = cache.positions(positions_BT, T, device)
            mask = cache.mask(positions_BT, documents_BT)
        else:
            assert self.causal, "an encoder sees later tokens too: none can be kept"
            assert documents_BT is None, "cached rows hold one document each"
            assert prefix_B is None, "a cached prefix is seen by later tokens only"
            mask = cached_mask(lengths, T, device)
            if positions_BT is None and any(lengths):
                positions_BT = cache.lengths_B.to(device).unsqueeze(1) + torch.arange(T, device=device)
        mask = replace(mask, bias=self.bias)
        x_BTC = self.embed(tokens_BT, positions_BT, segments_BT)
        x_BTC = self._through_blocks(x_BTC, mask, positions_BT, lengths, cache, memory, memory_documents_BS)
        if cache is not None:
            cache.lengths_B += T
        out: Tensor = self.norm(x_BTC)
        return out

    def _through_blocks(
        self,
        x_BTC: Tensor,
        mask: Mask,
        positions_BT: Tensor | None,
        lengths: list[int],
        cache: KeyValueCache | None,
        memory: Sequence[KeysValues],
        memory_documents_BS: Tensor | None,
    ) -> Tensor:
        T = x_BTC.shape[1]
        masks = {
            pattern: mask.narrowed(self.config, pattern) for pattern in dict.fromkeys(self.config.attention)
        }
        rotations = self.rotations(T if positions_BT is None else positions_BT, x_BTC.device)
        seen = memory_mask(T, memory[0][0].shape[2], x_BTC.device, memory_documents_BS) if memory else None
        again = self.checkpointing and torch.is_grad_enabled()
        for index, block in enumerate(self.blocks):
            pattern = self.config.pattern(index)
            inputs = (
                x_BTC,
                masks[pattern],
                rotations[pattern == "sliding"],
                None if cache is None else cache.layer(index, lengths),
                memory[index] if memory else None,
                seen,
            )
            # The last block's gradients come first: what it holds is needed at once.
            if again and index < len(self.blocks) - 1:
                x_BTC = checkpoint(block, *inputs, use_reentrant=False)
            else:
                x_BTC = block(*inputs)
        return x_BTC

    def rotations(
        self, positions: Tensor | int, device: torch.device
    ) -> tuple[Rotation | None, Rotation | None]:
        """The rotation of full and of sliding layers."""
        if self.rotary is None:
            return None, None
        whole = self.rotary(positions, device)
        return whole, whole if self.rotary_local is None else self.rotary_local(positions, device)

    def cross_attentions(self) -> list[Attention]:
        """Those of the blocks, first to last."""
        return [block.cross for block in self.blocks if isinstance(block, Block) and block.cross is not None]

    def balance_loss(self) -> Tensor | None:
        """The mean load-balancing loss over the mixtures of experts of the last training pass, if there are any."""
        mixtures = [module for module in self.modules() if isinstance(module, Experts)]
        losses = [mixture.balance for mixture in mixtures if mixture.balance is not None]
        return torch.stack(losses).mean() if losses else None

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


def _longest(T: int, positions_BT: Tensor | None, documents_BT: Tensor | None, window: int) -> int:
    """Of T tokens a row, how many are one document. Asked only of rows that are longer than the window."""
    if window >= T or positions_BT is None or documents_BT is None:
        return T
    return int(positions_BT.max()) + 1


def _rotary_tables(config: CoreConfig) -> tuple[RotaryTable | None, RotaryTable | None]:
    if config.position != "rotary":
        return None, None
    return RotaryTable(config), RotaryTable(config, local=True) if config.rope_theta_local else None

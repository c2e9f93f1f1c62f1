"""What a model costs: parameters, floating-point operations and cache bytes, exactly, from its config alone."""

from functools import lru_cache

import torch
from torch import Tensor, nn

from hanlin.model.assemble import Model, build_outline
from hanlin.model.config import CoreConfig
from hanlin.model.experts import Experts
from hanlin.model.heads import OF_TOKENS
from hanlin.model.seq2seq import Seq2Seq


@lru_cache(maxsize=64)
def parameters(config: CoreConfig) -> int:
    """Number of trained values: the sum over `parameters()` of a model without memory."""
    return sum(parameter.numel() for parameter in build_outline(config).parameters())


@lru_cache(maxsize=64)
def matmul_parameters(config: CoreConfig) -> int:
    """Weights that every token is multiplied with: all linear layers and the output head.

    Of a mixture of experts, those of the experts that a token goes through. What is done once for a whole text
    (pooler, its labels) is left out.
    """
    model = build_outline(config)
    once = {id(layer) for layer in _linear(nn.ModuleList(_judges_of_text(model)))}
    inside = {
        id(layer)
        for module in model.modules()
        if isinstance(module, Experts)
        for layer in _linear(module.experts)
    }
    layers = [layer for layer in _linear(model) if id(layer) not in once]
    whole = sum(layer.weight.numel() for layer in layers if id(layer) not in inside)
    chosen = sum(layer.weight.numel() for layer in layers if id(layer) in inside)
    return whole + (chosen * config.experts_per_token // config.experts if chosen else 0)


def _judges_of_text(model: Model) -> list[nn.Module]:
    if isinstance(model, Seq2Seq) or model.config.head in OF_TOKENS:
        return []
    head = model.head if model.config.head in ("classify", "regress") else None
    return [module for module in (model.pooler, model.next_sentence, head) if module is not None]


def _linear(module: nn.Module) -> list[nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


def forward_flops_per_token(config: CoreConfig, length: int) -> int:
    """Floating-point operations of a forward pass over `length` tokens, divided by `length`.

    Two for each weight; attention adds 4 x heads x head_size for each visible key. Norms, softmax and activations
    are left out, as is the custom (arXiv 2001.08361, appendix B). Of an encoder-decoder: source and target of
    `length` each.
    """
    causal = config.assembly == "decoder"
    keys = sum(visible_keys(config, layer, length, causal) for layer in range(config.layers))
    if config.assembly == "seq2seq":
        keys += sum(
            visible_keys(config, layer, length, True) + length for layer in range(config.decoder_layers)
        )
    return 2 * matmul_parameters(config) + round(4 * config.heads * config.head_size * keys)


def visible_keys(config: CoreConfig, layer: int, length: int, causal: bool) -> float:
    """Keys that a query of block `layer` sees, on average over the `length` tokens of a text."""
    pattern, window, shared = config.pattern(layer), config.attention_window or length, config.global_tokens
    if pattern == "full":
        return (length + 1) / 2 if causal else length
    query_T = torch.arange(length)
    last_T = query_T if causal else torch.full_like(query_T, length - 1)
    if pattern == "block":
        first_T = query_T // window * window
        end_T = (first_T + window).clamp(max=length)
        far_T = _block_ends(first_T, window, shared)
        if not causal:
            far_T = (
                far_T + _block_ends(torch.tensor(length), window, shared) - _block_ends(end_T, window, shared)
            )
        seen_T = torch.minimum(last_T + 1, end_T) - first_T + far_T
    else:
        low_T, high_T = (query_T - window + 1).clamp(min=0), torch.minimum(last_T, query_T + window - 1)
        seen_T = high_T - low_T + 1
        if pattern == "global":
            seen_T = (
                seen_T
                + low_T.clamp(max=shared)
                + (torch.minimum(last_T + 1, torch.tensor(shared)) - 1 - high_T).clamp(min=0)
            )
            seen_T = torch.where(query_T < shared, last_T + 1, seen_T)
    return float(seen_T.sum()) / length


def _block_ends(places: Tensor, window: int, shared: int) -> Tensor:
    """How many of the first `places` tokens are among the last `shared` of a block of `window`."""
    return places // window * shared + (places % window - (window - shared)).clamp(min=0)


def training_flops_per_token(config: CoreConfig, length: int) -> int:
    """Forward and backward: the backward pass costs twice the forward one."""
    return 3 * forward_flops_per_token(config, length)


def cache_bytes_per_token(config: CoreConfig, bytes_per_value: int = 4) -> int:
    """Bytes that the key-value cache keeps for each token of context."""
    return 2 * config.cached_layers * config.kv_heads * config.head_size * bytes_per_value

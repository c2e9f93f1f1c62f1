"""What a model costs: parameters, floating-point operations and cache bytes, exactly, from its config alone."""

from functools import lru_cache

from torch import nn

from hanlin.model.assemble import build_outline
from hanlin.model.config import CoreConfig
from hanlin.model.experts import Experts


@lru_cache(maxsize=64)
def parameters(config: CoreConfig) -> int:
    """Number of trained values: the sum over `parameters()` of a model without memory."""
    return sum(parameter.numel() for parameter in build_outline(config).parameters())


@lru_cache(maxsize=64)
def matmul_parameters(config: CoreConfig) -> int:
    """Weights that every token is multiplied with: all linear layers and the output head.

    Of a mixture of experts, those of the experts that a token goes through.
    """
    model = build_outline(config)
    inside = {
        id(layer)
        for module in model.modules()
        if isinstance(module, Experts)
        for layer in _linear(module.experts)
    }
    whole = sum(layer.weight.numel() for layer in _linear(model) if id(layer) not in inside)
    chosen = sum(layer.weight.numel() for layer in _linear(model) if id(layer) in inside)
    return whole + (chosen * config.experts_per_token // config.experts if chosen else 0)


def _linear(module: nn.Module) -> list[nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


def forward_flops_per_token(config: CoreConfig, length: int) -> int:
    """Floating-point operations of a forward pass over `length` tokens, divided by `length`.

    Two for each weight; attention adds 4 x heads x head_size for each visible key: (length + 1) / 2 on average
    when causal, `length` otherwise, fewer in sparse blocks. Norms, softmax and activations are left out, as is
    the custom (arXiv 2001.08361, appendix B). Of an encoder-decoder: source and target of `length` each.
    """
    keys = sum(visible_keys(config, layer, length) for layer in range(config.layers))
    if config.assembly == "seq2seq":
        keys += config.decoder_layers * ((length + 1) / 2 + length)
    return 2 * matmul_parameters(config) + round(4 * config.heads * config.head_size * keys)


def visible_keys(config: CoreConfig, layer: int, length: int) -> float:
    """Keys that a query of block `layer` sees, on average over `length` tokens."""
    causal = config.assembly == "decoder"
    pattern, window = config.pattern(layer), config.attention_window or length
    if pattern == "full" or window >= length:
        return (length + 1) / 2 if causal else length
    if pattern == "block":
        inside = (window + 1) / 2 if causal else window
        return inside + config.global_tokens * length / window / (2 if causal else 1)
    near = (
        window - window * (window - 1) / 2 / length
        if causal
        else 2 * window - 1 - window * (window - 1) / length
    )
    return near + (config.global_tokens if pattern == "global" else 0) * (1 if causal else 2)


def training_flops_per_token(config: CoreConfig, length: int) -> int:
    """Forward and backward: the backward pass costs twice the forward one."""
    return 3 * forward_flops_per_token(config, length)


def cache_bytes_per_token(config: CoreConfig, bytes_per_value: int = 4) -> int:
    """Bytes that the key-value cache keeps for each token of context."""
    layers = config.decoder_layers if config.assembly == "seq2seq" else config.layers
    return 2 * layers * config.kv_heads * config.head_size * bytes_per_value

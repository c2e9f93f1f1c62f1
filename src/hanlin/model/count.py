"""What a model costs: parameters, floating-point operations and cache bytes, exactly, from its config alone."""

from hanlin.model.config import CoreConfig


def parameters(config: CoreConfig) -> int:
    """Number of trained values; equals the sum over `Decoder.parameters()`."""
    table = config.vocab_size * config.width
    positions = config.window * config.width if config.position == "learned" else 0
    head = 0 if config.tied else table
    norm = config.width * (2 if config.norm == "layer" else 1)
    biases = _block_biases(config) if config.bias else 0
    return table + positions + head + config.layers * (_block_weights(config) + biases + 2 * norm) + norm


def matmul_parameters(config: CoreConfig) -> int:
    """Weights that every token is multiplied with: all linear layers and the output head."""
    return config.layers * _block_weights(config) + config.vocab_size * config.width


def forward_flops_per_token(config: CoreConfig, length: int) -> int:
    """Floating-point operations of a forward pass over `length` tokens, divided by `length`, causal.

    Two for each weight; attention adds 4 x heads x head_size for each visible key, (length + 1) / 2 on
    average. Norms, softmax and activations are left out, as is the custom (arXiv 2001.08361, appendix B).
    """
    attention = config.layers * 2 * config.heads * config.head_size * (length + 1)
    return 2 * matmul_parameters(config) + attention


def training_flops_per_token(config: CoreConfig, length: int) -> int:
    """Forward and backward: the backward pass costs twice the forward one."""
    return 3 * forward_flops_per_token(config, length)


def cache_bytes_per_token(config: CoreConfig, bytes_per_value: int = 4) -> int:
    """Bytes that the key-value cache keeps for each token of context."""
    return 2 * config.layers * config.kv_heads * config.head_size * bytes_per_value


def _block_weights(config: CoreConfig) -> int:
    attention = config.width * config.head_size * 2 * (config.heads + config.kv_heads)
    ffn = (3 if config.gated else 2) * config.width * config.ffn_width
    return attention + ffn


def _block_biases(config: CoreConfig) -> int:
    attention = config.head_size * (config.heads + 2 * config.kv_heads) + config.width
    ffn = (2 if config.gated else 1) * config.ffn_width + config.width
    return attention + ffn

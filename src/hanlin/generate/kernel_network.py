"""From the weights of a decoder to a network of the kernel.

R values of a head that turn, P positions.
"""

import ctypes

import numpy as np
import torch
from torch import Tensor

from hanlin.base.language import Text
from hanlin.checkpoint.gguf.quants import Blocks
from hanlin.checkpoint.stored import EMBEDDING, HEAD, StoredWeights
from hanlin.kernel.library import Layer, Matrix, Shape, why_not
from hanlin.kernel.matrix import Memory, pack
from hanlin.kernel.network import Floats, Network, Parts
from hanlin.model.config import CoreConfig
from hanlin.model.position import RotaryTable

_ATTENTION = ("query", "key", "value", "output")
_FFN = ("gate", "up", "down")


def obstacle(config: CoreConfig) -> Text | None:
    """Why the kernel cannot compute such a model here, as a clause; None if it can."""
    differing = [
        (config.assembly == "decoder" and config.head == "lm", "assembly", config.assembly),
        (config.position == "rotary", "position", config.position),
        (config.norm == "rms", "norm", config.norm),
        (config.norm_placement == "pre", "norm_placement", config.norm_placement),
        (not config.embedding_norm, "embedding_norm", config.embedding_norm),
        (config.activation == "silu", "activation", config.activation),
        (config.gated, "gated", config.gated),
        (config.experts == 0, "experts", config.experts),
        (set(config.attention) <= {"full", "sliding"}, "attention", "/".join(config.attention)),
        (config.attention_softcap is None, "attention_softcap", config.attention_softcap),
        (config.logit_softcap is None, "logit_softcap", config.logit_softcap),
        (config.head_scale == 1, "head_scale", config.head_scale),
        (config.segments == 0, "segments", config.segments),
    ]
    for fits, name, value in differing:
        if not fits:
            return Text(
                f"the native kernel computes no models with {name} {value}",
                f"原生内核不支持 {name} 为 {value} 的模型",
            )
    return why_not()


def build_network(weights: StoredWeights, slots: int, window: int, threads: int) -> Network:
    """A network of these weights, with room for `slots` texts of `window` tokens.

    Weights are read and packed one at a time. Raises as reading them does, and `MemoryError`.
    """
    config = weights.config
    shape = Shape(
        vocab_size=config.vocab_size,
        width=config.width,
        layers=config.layers,
        heads=config.heads,
        kv_heads=config.kv_heads,
        head_size=config.head_size,
        ffn_width=config.ffn_width,
        slots=slots,
        window=window,
        rotary=config.rotary_size,
        neighbours=config.position_pairs == "neighbours",
        half_cache=bool(weights.formats),
        threads=threads,
        norm_eps=config.norm_eps,
        attention_scale=config.attention_scale or config.head_size**-0.5,
        embedding_scale=config.embedding_scale,
    )
    return Network(shape, _Packing(weights).parts())


class _Packing:
    """Weights on their way into the kernel's memory."""

    def __init__(self, weights: StoredWeights) -> None:
        self._weights, self._config, self._memory = weights, weights.config, Memory()

    def parts(self) -> Parts:
        layers = [self._layer(index) for index in range(self._config.layers)]
        embedding = self._matrix(EMBEDDING)
        head = embedding if self._config.tied else self._matrix(HEAD)
        norm = self._norm("norm")
        assert norm is not None
        return Parts(layers, embedding, head, norm, self._vector("head.bias"), self._memory)

    def _layer(self, index: int) -> Layer:
        """In the order in which they are read."""
        config, block = self._config, f"blocks.{index}"
        sliding = config.pattern(index) == "sliding"
        return Layer(
            **{name: self._matrix(f"{block}.attention.{name}") for name in _ATTENTION},
            **{name: self._matrix(f"{block}.ffn.{name}") for name in _FFN},
            **{f"{name}_bias": self._vector(f"{block}.attention.{name}.bias") for name in _ATTENTION},
            **{f"{name}_bias": self._vector(f"{block}.ffn.{name}.bias") for name in _FFN},
            **{f"{name}_norm": self._norm(f"{block}.{name}_norm") for name in ("attention", "ffn")},
            **{f"{name}_norm": self._norm(f"{block}.attention.{name}_norm") for name in ("query", "key")},
            window=config.attention_window if sliding else 0,
            table=int(sliding and config.rope_theta_local is not None),
        )

    def _matrix(self, name: str) -> Matrix:
        stored = self._weights.matrix(name)
        if isinstance(stored, Blocks):
            return pack(self._memory, stored.data, stored.format.id, stored.shape[1])
        return pack(self._memory, stored.numpy())

    def _norm(self, name: str) -> int | None:
        weight = self._weights.vector(f"{name}.weight")
        if weight is not None and self._config.norm_unit_offset:
            weight = 1 + weight
        return self._held(weight)

    def _vector(self, name: str) -> int | None:
        return self._held(self._weights.vector(name))

    def _held(self, vector: Tensor | None) -> int | None:
        if vector is None:
            return None
        address = self._memory.take(4 * len(vector))
        ctypes.memmove(address, vector.contiguous().data_ptr(), 4 * len(vector))
        return address


def rotations(config: CoreConfig, local: bool, positions: int) -> tuple[Floats, Floats]:
    """Cosines and sines of the first P positions, one of each pair: (P, R / 2)."""
    cosines, sines = RotaryTable(config, local)(positions)
    half, halves = config.rotary_size // 2, config.position_pairs == "halves"
    once = slice(0, half) if halves else slice(0, None, 2)
    with torch.inference_mode():
        return np.ascontiguousarray(cosines[:, once]), np.ascontiguousarray(sines[:, once])

"""Tensors: GGUF's names and row order against those of Hugging Face."""

import re
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTER_BACK = {theirs: ours for ours, theirs in _OUTER.items()}
_INNER_BACK = {theirs: ours for ours, theirs in _INNER.items()}

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
ROPE_FACTORS = "rope_freqs.weight"
"""What divides each rotary frequency (D/2 values); Hugging Face says the same in config.json."""

Rows = TypeVar("Rows", Tensor, np.ndarray[Any, np.dtype[np.uint8]])


def to_hugging_face(name: str) -> str | None:
    """The Hugging Face name of a GGUF tensor; None for one that these families do not have."""
    stem, _, part = name.rpartition(".")
    if stem in _OUTER:
        return f"{_OUTER[stem]}.{part}"
    block = re.fullmatch(r"blk\.(0|[1-9]\d{0,5})\.(\w+)", stem)
    if block is None or block[2] not in _INNER:
        return None
    return f"model.layers.{block[1]}.{_INNER[block[2]]}.{part}"


def to_gguf(name: str) -> str:
    """The GGUF name of a Hugging Face tensor of these families."""
    stem, _, part = name.rpartition(".")
    if stem in _OUTER_BACK:
        return f"{_OUTER_BACK[stem]}.{part}"
    _, _, layer, inner = stem.split(".", 3)
    return f"blk.{layer}.{_INNER_BACK[inner]}.{part}"


def expected_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every tensor of a model with this config.json, by its Hugging Face name."""
    width, ffn, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    matrices = {
        "self_attn.q_proj": (queries, width),
        "self_attn.k_proj": (keys, width),
        "self_attn.v_proj": (keys, width),
        "self_attn.o_proj": (width, queries),
        "mlp.gate_proj": (ffn, width),
        "mlp.up_proj": (ffn, width),
        "mlp.down_proj": (width, ffn),
    }
    inner: dict[str, tuple[int, ...]] = {f"{name}.weight": shape for name, shape in matrices.items()}
    inner |= {f"{name}.bias": matrices[name][:1] for name in _biased(config)}
    inner |= {"input_layernorm.weight": (width,), "post_attention_layernorm.weight": (width,)}
    if config["model_type"] == "qwen3":
        inner |= {"self_attn.q_norm.weight": (head,), "self_attn.k_norm.weight": (head,)}
    shapes: dict[str, tuple[int, ...]] = {EMBEDDING: (config["vocab_size"], width)}
    for layer in range(config["num_hidden_layers"]):
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in inner.items()}
    shapes["model.norm.weight"] = (width,)
    if not config.get("tie_word_embeddings", False):
        shapes[HEAD] = (config["vocab_size"], width)
    return shapes


def _biased(config: dict[str, Any]) -> list[str]:
    """The linear layers that have a bias."""
    attention = [f"self_attn.{part}_proj" for part in "qkvo"]
    if config["model_type"] == "qwen2":
        return attention[:3]
    feedforward = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"] if config.get("mlp_bias") else []
    return (attention if config.get("attention_bias") else []) + feedforward


def is_permuted(name: str, config: dict[str, Any]) -> bool:
    """Whether GGUF stores the rows of this Hugging Face tensor in another order.

    For Llama, llama.cpp turns neighbouring pairs (arXiv 2104.09864), Hugging Face the two halves of a head.
    """
    return config["model_type"] == "llama" and (".q_proj." in name or ".k_proj." in name)


def pairs_together(tensor: Tensor, head: int) -> Tensor:
    """Rows of each head from halves to pairs: 0, D/2, 1, D/2+1, ..."""
    return tensor.reshape(-1, 2, head // 2, *tensor.shape[1:]).transpose(1, 2).reshape(tensor.shape)


def halves_together(tensor: Rows, head: int) -> Rows:
    """The inverse of `pairs_together`."""
    split = tensor.reshape(-1, head // 2, 2, *tensor.shape[1:])
    return split.swapaxes(1, 2).reshape(tensor.shape)

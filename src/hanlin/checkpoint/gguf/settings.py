"""The settings of a model: GGUF's metadata against config.json."""

from typing import Any

from torch import Tensor

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text
from hanlin.checkpoint.gguf.fields import CLASSES, Fields, other_file, unknown_kind
from hanlin.checkpoint.gguf.header import Header
from hanlin.checkpoint.gguf.names import ROPE_FACTORS
from hanlin.checkpoint.gguf.rope import llama3_parameters, rope_of
from hanlin.checkpoint.gguf.tensors import check_tensors, contradiction, read_tensor, rows_of

_YARN = ("beta_fast", "beta_slow")
_ORIGINAL = "original_max_position_embeddings"
_SCALINGS: dict[str, tuple[set[str], set[str]]] = {
    "default": (set(), set()),
    "linear": ({"factor"}, set()),
    "yarn": ({"factor", _ORIGINAL}, set(_YARN)),
    "llama3": ({"factor", "low_freq_factor", "high_freq_factor", _ORIGINAL}, set()),
}
"""Kind of rotary scaling -> what config.json must and may say of it."""


def read_config(header: Header) -> dict[str, Any]:
    """The config.json of the model in a GGUF file, held against the shapes of its tensors.

    Raises `CheckpointError` for an unknown architecture, a setting that is missing, absurd or unknown (it
    would change the model), and for settings that the tensors contradict.
    """
    fields = Fields(header)
    width, heads = fields.whole("embedding_length"), fields.whole("attention.head_count")
    head = fields.whole("attention.key_length", width // heads)
    if head % 2:  # rotary positions turn pairs of values
        raise fields.absurd("attention.key_length", head)
    config: dict[str, Any] = {
        "architectures": [CLASSES[fields.kind]],
        "model_type": fields.kind,
        "vocab_size": rows_of(header, "token_embd.weight"),
        "hidden_size": width,
        "num_hidden_layers": fields.whole("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": fields.whole("attention.head_count_kv", heads),
        "head_dim": head,
        "intermediate_size": fields.whole("feed_forward_length"),
        "max_position_embeddings": fields.whole("context_length"),
        "rms_norm_eps": fields.real("attention.layer_norm_rms_epsilon"),
        "hidden_act": "silu",
        "tie_word_embeddings": "output.weight" not in header.tensors,
        "torch_dtype": "float32",
        "rope_parameters": _read_rope(fields, head),
    }
    config["rope_theta"] = config["rope_parameters"]["rope_theta"]
    if fields.kind == "llama":
        config["attention_bias"] = "blk.0.attn_output.bias" in header.tensors
        config["mlp_bias"] = "blk.0.ffn_up.bias" in header.tensors
    for role, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        config[f"{role}_token_id"] = header.metadata.get(f"tokenizer.ggml.{key}_token_id")
    fields.expect("vocab_size", config["vocab_size"])
    fields.expect("rope.dimension_count", head)
    fields.expect("attention.value_length", head)
    fields.expect("attention.causal", True)
    fields.expect("expert_count", 0)
    fields.refuse_the_rest()
    check_tensors(header, config)
    return config


def write_config(config: dict[str, Any]) -> dict[str, Any]:
    """The metadata of a model with this completed config.json; numbers in the types that llama.cpp reads."""
    rope = config["rope_parameters"]
    values = {
        "vocab_size": config["vocab_size"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "block_count": config["num_hidden_layers"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.key_length": config["head_dim"],
        "attention.value_length": config["head_dim"],
        "attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]),
        "rope.dimension_count": config["head_dim"],
        "rope.freq_base": rope["rope_theta"],
    }
    if rope["rope_type"] in ("linear", "yarn"):
        values["rope.scaling.type"] = rope["rope_type"]
        values["rope.scaling.factor"] = float(rope["factor"])
    if _ORIGINAL in rope:
        values["rope.scaling.original_context_length"] = rope[_ORIGINAL]
    values |= {f"rope.scaling.yarn_{key}": float(rope[key]) for key in _YARN if key in rope}
    return {f"{config['model_type']}.{key}": value for key, value in values.items()}


def complete_config(config: dict[str, Any]) -> dict[str, Any]:
    """config.json with what follows from its other values filled in.

    Raises `CheckpointError` for a model that GGUF cannot express.
    """
    kind = config.get("model_type")
    if kind not in CLASSES:
        raise unknown_kind(None, kind)
    heads = config["num_attention_heads"]
    full = {
        **config,
        "num_key_value_heads": config.get("num_key_value_heads") or heads,
        "head_dim": config.get("head_dim") or config["hidden_size"] // heads,
        "rope_parameters": rope_of(config),
    }
    beyond = {
        "hidden_act": full.get("hidden_act", "silu") != "silu",
        "use_sliding_window": bool(full.get("use_sliding_window")),
        "attention_bias": kind != "llama" and bool(full.get("attention_bias")),
        "rope_parameters": not _is_known_scaling(full["rope_parameters"]),
    }
    for key in (key for key, is_beyond in beyond.items() if is_beyond):
        raise CheckpointError(
            Text(f"config.json sets {key} to {full[key]!r}, which a GGUF file of {kind} cannot say.",
                 f"config.json 将 {key} 设为 {full[key]!r}，{kind} 的 GGUF 文件无法表达。"),
            Text("Keep this model as a folder.", "请以目录形式保留该模型。"),
        )  # fmt: skip
    return full


def _is_known_scaling(rope: dict[str, Any]) -> bool:
    if rope["rope_type"] not in _SCALINGS:
        return False
    needed, allowed = _SCALINGS[rope["rope_type"]]
    return needed <= rope.keys() <= needed | allowed | {"rope_type", "rope_theta"}


def _read_rope(fields: Fields, head: int) -> dict[str, Any]:
    theta = fields.real("rope.freq_base", 10000.0)
    kind = fields.expect("rope.scaling.type", "none", "linear", "yarn")
    original = fields.take("rope.scaling.original_context_length")
    if ROPE_FACTORS in fields.header.tensors:
        rope = llama3_parameters(_factors(fields.header, head), theta, original)
        if kind != "none" or rope is None:
            raise CheckpointError(
                Text(f"{fields.header.path}: {ROPE_FACTORS} is not the scaling of a Llama 3 model.",
                     f"{fields.header.path}：{ROPE_FACTORS} 不是 Llama 3 的缩放方式。"),
                other_file(),
            )  # fmt: skip
        return rope
    if kind == "none":
        return {"rope_type": "default", "rope_theta": theta}
    rope = {"rope_type": kind, "rope_theta": theta, "factor": fields.real("rope.scaling.factor")}
    if kind == "yarn":
        if not isinstance(original, int):
            raise fields.absurd("rope.scaling.original_context_length", original)
        beta = {key: fields.take(f"rope.scaling.yarn_{key}") for key in _YARN}
        rope |= {_ORIGINAL: original} | {key: value for key, value in beta.items() if value is not None}
    return rope


def _factors(header: Header, head: int) -> Tensor:
    shape = header.tensors[ROPE_FACTORS].shape
    if shape != (head // 2,):
        raise contradiction(header.path, ROPE_FACTORS, shape, (head // 2,))
    return read_tensor(header, ROPE_FACTORS)

"""Rotary positions in config.json: `rope_parameters`, or `rope_scaling` and `rope_theta` as older files have them."""

import math
from typing import Any

from hanlin.checkpoint.family import require
from hanlin.model.config import CoreConfig, RopeScaling

_ORIGINAL = "original_max_position_embeddings"


def read_rope(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of positions and window.

    Raises `CheckpointError` for a kind of scaling that changes with the length of the text (dynamic, longrope).
    """
    values = {**_named(config.get("rope_parameters")), **_named(config.get("rope_scaling"))}
    kind = values.get("rope_type", "default")
    require({"rope_type": kind}, "rope_type", "default", "linear", "llama3", "yarn")
    window = config["max_position_embeddings"]
    settings = {
        "window": window,
        "rope_theta": values.get("rope_theta") or config.get("rope_theta") or 10000.0,
        "rotary_share": values.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0,
    }
    if kind == "default":
        return settings
    original = config.get(_ORIGINAL) or values.get(_ORIGINAL) or window
    scaling = {"kind": kind, "factor": values.get("factor") or window / original}
    if kind != "linear":
        scaling["original_window"] = original
    if kind == "llama3":
        scaling |= {key: values[key] for key in ("low_freq_factor", "high_freq_factor")}
    if kind == "yarn":
        # What YaRN stretches the window to is what the model is made to read; files often give only the original.
        settings["window"] = max(window, int(scaling["factor"] * original))
        scaling |= {
            key: values[key] for key in ("beta_fast", "beta_slow", "truncate") if values.get(key) is not None
        }
        scaling["attention_factor"] = _attention_factor(values, scaling["factor"])
    return {**settings, "rope_scaling": scaling}


def _named(values: dict[str, Any] | None) -> dict[str, Any]:
    """With the kind under its newer name."""
    return {"rope_type": values.get("type", "default"), **values} if values else {}


def _attention_factor(values: dict[str, Any], factor: float) -> float | None:
    """What cosines and sines are multiplied by, or None for the usual; DeepSeek's files give it as a quotient."""
    given: float | None = values.get("attention_factor")
    above, below = values.get("mscale"), values.get("mscale_all_dim")
    if given is None and above and below:
        given = (0.1 * above * math.log(factor) + 1) / (0.1 * below * math.log(factor) + 1)
    return given


def write_rope(config: CoreConfig) -> dict[str, Any]:
    """The same for config.json, where both newer and older readers look."""
    scaling = {} if config.rope_scaling is None else _scaling(config.rope_scaling)
    share = {"partial_rotary_factor": config.rotary_share} if config.rotary_share != 1 else {}
    return {
        "max_position_embeddings": config.window,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta, **share, **scaling},
        **({"rope_scaling": scaling} if scaling else {}),
        **share,
    }


def _scaling(scaling: RopeScaling) -> dict[str, Any]:
    values: dict[str, Any] = {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.kind != "linear":
        values[_ORIGINAL] = scaling.original_window
    if scaling.kind == "llama3":
        values |= {"low_freq_factor": scaling.low_freq_factor, "high_freq_factor": scaling.high_freq_factor}
    if scaling.kind == "yarn":
        values |= {
            "beta_fast": scaling.beta_fast,
            "beta_slow": scaling.beta_slow,
            "truncate": scaling.truncate,
        }
        if scaling.attention_factor is not None:
            values["attention_factor"] = scaling.attention_factor
    return values

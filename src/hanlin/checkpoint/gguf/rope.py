"""Rotary scaling: GGUF's settings and factors against `rope_parameters` of config.json."""

import math
from typing import Any

import torch
from torch import Tensor

_LOW, _HIGH, _ORIGINAL = 1.0, 4.0, 8192
"""What all published Llama 3.1, 3.2 and 3.3 models use; a GGUF file has only the factors that come of it."""


def llama3_factors(rope: dict[str, Any], head: int) -> Tensor:
    """What divides the D/2 rotary frequencies of a Llama-3 model, float32.

    Wavelengths below original / high are kept, those above original / low are stretched by `factor`, and
    between the two the frequency is interpolated. Source: Llama 3.1 reference code, `apply_scaling`.
    """
    exponent = torch.arange(0, head, 2, dtype=torch.float32) / head
    wavelength = 2 * math.pi * rope["rope_theta"] ** exponent
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    original = rope["original_max_position_embeddings"]
    smooth = ((original / wavelength - low) / (high - low)).clamp(0, 1)
    factors: Tensor = 1 / ((1 - smooth) / factor + smooth)
    return factors


def llama3_parameters(factors: Tensor, theta: float, original: int | None) -> dict[str, Any] | None:
    """The `rope_parameters` that give these factors; None when none of the published kind do.

    original: the length before scaling, where the file names it.
    """
    rope = {
        "rope_type": "llama3",
        "rope_theta": theta,
        "factor": float(factors.max()),
        "low_freq_factor": _LOW,
        "high_freq_factor": _HIGH,
        "original_max_position_embeddings": original or _ORIGINAL,
    }
    agrees = torch.allclose(llama3_factors(rope, 2 * len(factors)), factors, rtol=1e-5, atol=0)
    return rope if agrees else None


def rope_of(config: dict[str, Any]) -> dict[str, Any]:
    """The rotary settings of a config.json of any age, as `rope_parameters` has them."""
    scaling = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    kind = scaling.pop("rope_type", None) or scaling.get("type") or "default"
    scaling.pop("type", None)
    theta = scaling.pop("rope_theta", None) or config.get("rope_theta") or 10000.0
    if scaling.get("truncate") is True:  # YaRN's bounds in whole pairs, as llama.cpp always has them
        del scaling["truncate"]
    said = {key: value for key, value in scaling.items() if value is not None}
    return {"rope_type": kind, "rope_theta": float(theta), **said}

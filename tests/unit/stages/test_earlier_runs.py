"""A run that an earlier version began is the run that the same recipe asks for today."""

import pytest

from hanlin.model.config import CoreConfig
from hanlin.stages.current import differences
from hanlin.stages.pretrain import _as_today
from hanlin.trainer.config import PretrainConfig

SHAPE = {"vocab_size": 400, "width": 32, "layers": 2, "heads": 2, "window": 64, "dropout": 0.1}
DERIVED = {"kv_heads": 2, "head_size": 16, "rope_theta": 10000.0, "norm_eps": 1e-5, "tied": True}
FIRST = {
    "gpt2": {"position": "learned", "norm": "layer", "activation": "gelu_tanh", "gated": False, "bias": True}
    | {"ffn_width": 128},
    "llama": {"position": "rotary", "norm": "rms", "activation": "silu", "gated": True, "bias": False}
    | {"ffn_width": 128},
}
"""What the first version wrote of a model: one setting for all biases, and none of those that came later."""


@pytest.mark.parametrize("style", FIRST)
def test_settings_that_came_later_are_as_they_were_when_there_was_no_choice(style):
    today = {
        "model": CoreConfig.model_validate({**SHAPE, "style": style}).model_dump(),
        "pretrain": PretrainConfig().model_dump(mode="json"),
    }
    pretrain = {key: value for key, value in today["pretrain"].items() if key != "label_smoothing"}
    earlier = {"model": {**SHAPE, **DERIVED, **FIRST[style]}, "pretrain": pretrain}
    assert differences(_as_today(earlier), today) == []
    other = {**earlier, "model": {**earlier["model"], "bias": not FIRST[style]["bias"]}}
    assert len(differences(_as_today(other), today)) == 3
    assert differences(_as_today({**earlier, "generation": {"seed": 1}}), today) == [
        "generation: {'seed': 1} -> None"
    ]

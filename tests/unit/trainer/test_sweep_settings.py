"""The `sweep:` section of a recipe: what it accepts, and what it asks for."""

import pytest

from hanlin.base.config import validate_settings
from hanlin.base.errors import ConfigError
from hanlin.trainer.sweep import Range, SweepConfig


def read(**values: object) -> SweepConfig:
    return validate_settings(SweepConfig, values, "recipe")


def test_a_grid_is_every_combination_the_last_parameter_fastest() -> None:
    config = read(parameters={"a": [1, 2], "b": [{"c": 1}, {"c": 2}, {"c": 3}]})
    assert config.count == 6
    assert [(point["a"], point["b"]["c"]) for point in config.grid()] == [
        (1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)
    ]  # fmt: skip


def test_a_range_keeps_whole_numbers_whole() -> None:
    config = read(
        parameters={"a": {"low": 1, "high": 8}, "b": {"low": 0.1, "high": 1, "log": True}}, sampler="tpe"
    )
    assert config.count == 20
    whole, real = config.parameters["a"], config.parameters["b"]
    assert isinstance(whole, Range)
    assert isinstance(real, Range)
    assert whole.whole
    assert not real.whole


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"parameters": {"a": {"low": 1, "high": 2}}}, "a grid needs a list of values for a"),
        ({"parameters": {"a": []}}, "at least 1 item"),
        ({"parameters": {"a": {"low": 2, "high": 1}}, "sampler": "tpe"}, "low 2 must be below high 1"),
        ({"parameters": {"a": {"low": 0, "high": 1, "log": True}}, "sampler": "tpe"}, "above 0"),
        ({"parameters": {"a": {"low": 1, "high": 9, "step": 0.5}}, "sampler": "tpe"}, "whole number"),
        ({"parameters": {"a": {"low": 1, "hihg": 9}}, "sampler": "tpe"}, "Did you mean 'high'?"),
        ({"parameters": {"a": [1]}, "trials": 3}, "trials is for random and tpe"),
        ({"held_out": {"a": 1}}, "held_out needs fit"),
    ],
)
def test_what_can_not_be_searched_is_refused(values: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("?", r"\?")):
        read(**values)

"""Wrong parameters are named with their range; right ones pass."""

import math
from typing import Any

import pytest

from hanlin.base.errors import RequestError
from hanlin.generate.parameters import SamplingParameters


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"temperature": -0.1}, ["temperature", "-0.1", ">= 0"]),
        ({"temperature": math.nan}, ["temperature"]),
        ({"temperature": math.inf}, ["temperature"]),
        ({"temperature": "warm"}, ["temperature", "warm"]),
        ({"top_p": 0}, ["top_p", "> 0 and <= 1"]),
        ({"top_p": 1.5}, ["top_p", "> 0 and <= 1"]),
        ({"min_p": 2}, ["min_p", ">= 0 and <= 1"]),
        ({"top_k": -1}, ["top_k", ">= 0"]),
        ({"top_k": 2.5}, ["top_k"]),
        ({"max_new_tokens": 0}, ["max_new_tokens", ">= 1"]),
        ({"repetition_penalty": 0}, ["repetition_penalty", "> 0"]),
        ({"stop": ["", "a"]}, ["stop", "empty"]),
        ({"seed": -1}, ["seed", ">= 0"]),
        ({"temprature": 1}, ["temprature", "did you mean temperature"]),
        ({"zzz": 1}, ["zzz", "top_k"]),
        ({"top_p": 2, "top_k": -1}, ["top_p", "top_k"]),
    ],
)
def test_wrong_parameters(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(RequestError) as caught:
        SamplingParameters().changed(changes)
    assert all(word in caught.value.problem.en for word in words)
    assert all(name in caught.value.problem.zh for name in changes)


def test_changes_keep_the_rest() -> None:
    changed = SamplingParameters(top_k=5).changed({"stop": "。", "temperature": 0})
    assert (changed.top_k, changed.stop, changed.temperature) == (5, ("。",), 0.0)

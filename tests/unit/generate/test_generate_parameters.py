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
        ({"repetition_penalty": 0}, ["repetition_penalty", ">= 0.01"]),
        ({"stop": ["", "a"]}, ["stop", "empty"]),
        ({"seed": -1}, ["seed", ">= 0"]),
        ({"typical_p": 0}, ["typical_p", "> 0 and <= 1"]),
        ({"frequency_penalty": 2.1}, ["frequency_penalty", ">= -2 and <= 2"]),
        ({"presence_penalty": -3}, ["presence_penalty", ">= -2 and <= 2"]),
        ({"logit_bias": {5: 101}}, ["logit_bias", ">= -100 and <= 100"]),
        ({"logit_bias": [5]}, ["logit_bias"]),
        ({"no_repeat_ngram": -1}, ["no_repeat_ngram", ">= 0"]),
        ({"bad_words": [""]}, ["bad_words", "empty"]),
        ({"min_new_tokens": -1}, ["min_new_tokens", ">= 0"]),
        ({"stop_ids": ["a"]}, ["stop_ids"]),
        ({"log_probabilities": 1001}, ["log_probabilities", ">= 0 and <= 1000"]),
        ({"json_schema": "{"}, ["json_schema", "not JSON"]),
        ({"json_schema": 5}, ["json_schema", "object, true or false"]),
        ({"choices": []}, ["choices", "nothing to choose"]),
        ({"choices": ["a", ""]}, ["choices", "empty"]),
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


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"min_new_tokens": 5, "max_new_tokens": 4}, "min_new_tokens = 5 is more than max_new_tokens = 4"),
        ({"regex": "a", "choices": ["b"]}, "regex and choices exclude each other"),
        ({"json_schema": {}, "grammar": 'start: "a"'}, "json_schema and grammar exclude each other"),
        ({"choices": ["ab", "cb"], "bad_words": ["b"]}, "bad_words forbid every one of the choices"),
    ],
)
def test_parameters_that_contradict_each_other(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        SamplingParameters().changed(changes)
    assert next(iter(changes)) in caught.value.problem.zh


def test_filters_are_permitted_where_nothing_is_drawn() -> None:
    """Clients send them with temperature 0, where they change nothing."""
    SamplingParameters().changed({"temperature": 0, "top_p": 0.9, "top_k": 3, "typical_p": 0.5, "seed": 1})


def test_what_is_one_may_be_given_as_one() -> None:
    changed = SamplingParameters().changed(
        {"bad_words": "a", "choices": "b", "stop_ids": 3, "json_schema": None}
    )
    assert (changed.bad_words, changed.choices, changed.stop_ids) == (("a",), ("b",), (3,))
    assert SamplingParameters().changed({"json_schema": '{"type": "null"}'}).json_schema == {"type": "null"}
    assert SamplingParameters().changed({"json_schema": "true"}).json_schema is True


def test_changes_keep_the_rest() -> None:
    changed = SamplingParameters(top_k=5).changed({"stop": "。", "temperature": 0})
    assert (changed.top_k, changed.stop, changed.temperature) == (5, ("。",), 0.0)

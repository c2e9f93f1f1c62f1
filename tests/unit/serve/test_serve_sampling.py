"""Penalties, biases, constraints and log-probabilities through the official client."""

import json
import math
from typing import Literal

import openai
import pydantic
import pytest

from hanlin.generate.language_model import LanguageModel
from serving import GREETING, SONG

QUESTION, REPLY = GREETING[0]
ASKED = [{"role": "user", "content": QUESTION}]


def test_penalties_and_biases_change_the_text(client: openai.OpenAI, model: LanguageModel):
    wanted = {"model": "little", "prompt": SONG[:10], "max_tokens": 24, "temperature": 0}
    plain = client.completions.create(**wanted).choices[0].text
    own = model.generate(SONG[:10], max_new_tokens=24, temperature=0, frequency_penalty=2, presence_penalty=2)
    asked = client.completions.create(**wanted, frequency_penalty=2, presence_penalty=2)
    assert asked.choices[0].text == own.text
    first = model.tokenizer.encode_inside(plain, after_special=False)[0]
    biased = client.completions.create(**wanted, logit_bias={str(first): -100}).choices[0].text
    assert not biased.startswith(model.tokenizer.decode([first]))
    word = plain.strip()[:2]
    assert word not in client.completions.create(**wanted, extra_body={"bad_words": [word]}).choices[0].text


def test_stop_tokens_and_least_lengths(client: openai.OpenAI, model: LanguageModel):
    wanted = {"model": "little", "prompt": SONG[:10], "max_tokens": 24, "temperature": 0}
    second = model.tokenizer.encode_inside(client.completions.create(**wanted).choices[0].text, False)[1]
    ended = client.completions.create(**wanted, extra_body={"stop_token_ids": [second]})
    assert (ended.choices[0].finish_reason, ended.usage.completion_tokens) == ("stop", 2)
    later = client.completions.create(**wanted, extra_body={"stop_token_ids": [second], "min_tokens": 5})
    assert later.usage.completion_tokens > 5


def test_response_formats(client: openai.OpenAI):
    pytest.importorskip("llguidance")
    schema = {
        "type": "object",
        "properties": {
            "answer": {"enum": ["是", "否"]},
            "n": {"type": "integer", "minimum": 0, "maximum": 9},
        },
        "required": ["answer", "n"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, "strict": True}}
    answer = client.chat.completions.create(model="little", messages=ASKED, response_format=wanted, seed=1)
    value = json.loads(answer.choices[0].message.content)
    assert value["answer"] in ("是", "否")
    assert value["n"] in range(10)
    assert answer.choices[0].finish_reason == "stop"
    anything = client.chat.completions.create(
        model="little", messages=ASKED, response_format={"type": "json_object"}, max_tokens=4
    )
    assert anything.choices[0].message.content.startswith("{")
    plain = client.chat.completions.create(
        model="little", messages=ASKED, response_format={"type": "text"}, temperature=0
    )
    assert plain.choices[0].message.content == REPLY
    chosen = client.completions.create(model="little", prompt="a", extra_body={"choices": ["甲", "乙"]})
    assert chosen.choices[0].text in ("甲", "乙")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"logit_bias": {"999999": 1}}, "999999"),
        ({"min_tokens": 9, "max_tokens": 8}, "min_new_tokens = 9"),
        ({"regex": "(a"}, "unclosed group"),
        ({"regex": "a", "choices": ["b"]}, "exclude each other"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}},
            "not supported",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_before_a_stream_begins(
    client: openai.OpenAI, change: dict, words: str
):
    pytest.importorskip("llguidance")
    with pytest.raises(openai.BadRequestError, match=words):
        client.chat.completions.create(model="little", messages=ASKED, stream=True, extra_body=change)


def test_log_probabilities_of_a_chat(client: openai.OpenAI, model: LanguageModel):
    wanted = {"model": "little", "messages": ASKED, "temperature": 0, "logprobs": True, "top_logprobs": 3}
    told = client.chat.completions.create(**wanted).choices[0].logprobs.content
    assert b"".join(bytes(token.bytes) for token in told).decode() == REPLY
    for token in told:
        assert token.logprob == pytest.approx(token.top_logprobs[0].logprob)  # greedy: the likeliest
        assert [one.logprob for one in token.top_logprobs] == sorted(
            (one.logprob for one in token.top_logprobs), reverse=True
        )
        assert len(token.top_logprobs) == 3
    stream = client.chat.completions.create(**wanted, stream=True)
    streamed = [
        token
        for chunk in stream
        if chunk.choices and chunk.choices[0].logprobs
        for token in chunk.choices[0].logprobs.content
    ]
    assert [token.token for token in streamed] == [token.token for token in told]
    assert [token.logprob for token in streamed] == pytest.approx([token.logprob for token in told], abs=1e-4)
    assert (
        client.chat.completions.create(model="little", messages=ASKED, max_tokens=2).choices[0].logprobs
        is None
    )


def test_log_probabilities_of_a_completion(client: openai.OpenAI, model: LanguageModel):
    wanted = {"model": "little", "prompt": SONG[:10], "max_tokens": 8, "temperature": 0}
    (choice,) = client.completions.create(**wanted, logprobs=2).choices
    assert "".join(choice.logprobs.tokens) == choice.text
    assert choice.logprobs.text_offset[0] == 0
    assert all(
        choice.text[at:].startswith(token)
        for at, token in zip(choice.logprobs.text_offset, choice.logprobs.tokens, strict=True)
    )
    assert all(len(top) == 2 for top in choice.logprobs.top_logprobs)
    assert math.fsum(choice.logprobs.token_logprobs) == pytest.approx(
        model.logprob(SONG[:10], choice.text), abs=1e-2
    )


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"logit_bias": {"999999": 1}}, "logit_bias"),
        ({"stop_token_ids": [999999]}, "stop_token_ids"),
        ({"min_tokens": 9, "max_tokens": 8}, "min_tokens"),
        ({"regex": "(a"}, "regex"),
        ({"grammar": "start: x"}, "grammar"),
        ({"choices": ["a"], "bad_words": ["a"]}, "bad_words"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}},
            "response_format",
        ),
    ],
)
def test_what_the_engine_refuses_is_named(client: openai.OpenAI, change: dict, param: str):
    pytest.importorskip("llguidance")
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="little", messages=ASKED, extra_body=change)
    assert (caught.value.param, caught.value.code) == (param, "invalid_value")


class Reply(pydantic.BaseModel):
    good: bool
    stars: Literal[1, 2, 3]


def test_a_pydantic_model_is_parsed(client: openai.OpenAI):
    pytest.importorskip("llguidance")
    answer = client.chat.completions.parse(model="little", messages=ASKED, response_format=Reply, seed=3)
    assert isinstance(answer.choices[0].message.parsed, Reply)

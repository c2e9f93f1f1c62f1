"""Tools through the official client: calls that satisfy their schemas, loops, streams, and what is refused."""

import json
from typing import Any

import openai
import pytest

from hanlin.generate.language_model import LanguageModel
from hanlin.serve.requests import ChatMessage
from hanlin.serve.tool_checks import turns
from hanlin.serve.tool_grammar import Argued, Called, CallReader, Said
from hanlin.serve.tool_prompt import ToolTemplate, knows_tools
from hanlin.serve.tools import Function
from hanlin.tokenizer.chat import ChatTemplate
from serving import GREETING

pytest.importorskip("llguidance")

ASKED = [{"role": "user", "content": GREETING[0][0]}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "天气",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"enum": ["Paris", "北京"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["city", "days"],
        },
    },
}
NOW = {"type": "function", "function": {"name": "now"}}
COMMON: dict[str, Any] = {"model": "little", "messages": ASKED, "tools": [WEATHER, NOW], "seed": 1}
QWEN = (
    "{% if tools %}<tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools>{% endif %}"
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}'
    "<|im_end|>{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "北京", "days": 2}'},
}


def check(call: Any) -> None:
    values = json.loads(call.function.arguments)
    if call.function.name == "now":
        assert values == {}
    else:
        assert call.function.name == "weather"
        assert set(values) == {"city", "days"}
        assert values["city"] in ("Paris", "北京")
        assert values["days"] in range(1, 10)


@pytest.mark.parametrize("seed", range(3))
def test_a_required_call_satisfies_its_schema(client: openai.OpenAI, seed: int):
    wanted = {**COMMON, "seed": seed, "temperature": 2, "parallel_tool_calls": False}
    (choice,) = client.chat.completions.create(**wanted, tool_choice="required").choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    (call,) = choice.message.tool_calls
    check(call)


def test_one_function_by_name_and_a_loop(client: openai.OpenAI):
    choice = {"type": "function", "function": {"name": "weather"}}
    answer = client.chat.completions.create(**COMMON, tool_choice=choice).choices[0]
    (call,) = answer.message.tool_calls
    check(call)
    assert call.function.name == "weather"
    history = [*ASKED, answer.message, {"role": "tool", "tool_call_id": call.id, "content": "20 °C"}]
    last = client.chat.completions.create(
        **{**COMMON, "messages": history}, tool_choice="none", temperature=0, max_tokens=8
    )
    assert last.choices[0].message.tool_calls is None
    assert last.choices[0].finish_reason in ("stop", "length")


def test_several_calls_in_one_answer(client: openai.OpenAI):
    found = [
        client.chat.completions.create(
            **{**COMMON, "seed": seed}, tool_choice="required", temperature=2, logit_bias={}, max_tokens=400
        ).choices[0]
        for seed in range(6)
    ]
    for choice in found:
        if choice.finish_reason == "tool_calls":
            for call in choice.message.tool_calls:
                check(call)
    ids = [call.id for choice in found for call in choice.message.tool_calls or ()]
    assert len(ids) == len(set(ids)) >= 6


def test_a_model_that_need_not_call_may_talk(client: openai.OpenAI, model: LanguageModel):
    plain = client.chat.completions.create(
        **COMMON, temperature=0, tool_choice="auto", max_tokens=30
    ).choices[0]
    assert plain.message.content
    assert "<tool_call>" not in plain.message.content
    shaped = client.chat.completions.create(
        **COMMON, temperature=0, response_format={"type": "json_object"}, max_tokens=3
    ).choices[0]
    assert (shaped.message.content or "{").startswith("{")


def test_a_stream_says_the_same(client: openai.OpenAI):
    wanted = {**COMMON, "tool_choice": "required", "parallel_tool_calls": False, "temperature": 0}
    whole = client.chat.completions.create(**wanted).choices[0].message.tool_calls[0]
    chunks = list(client.chat.completions.create(**wanted, stream=True))
    deltas = [one for chunk in chunks for one in chunk.choices[0].delta.tool_calls or ()]
    assert deltas[0].function.name == whole.function.name
    assert deltas[0].id.startswith("call_")
    assert all(one.id is None and one.index == 0 for one in deltas[1:])
    assert "".join(one.function.arguments for one in deltas) == whole.function.arguments
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert chunks[0].choices[0].delta.content is None
    with client.chat.completions.stream(**wanted) as stream:
        final = stream.get_final_completion().choices[0]
    assert final.message.tool_calls[0].function.arguments == whole.function.arguments


def test_a_call_that_is_cut_says_so(client: openai.OpenAI):
    cut = client.chat.completions.create(**COMMON, tool_choice="required", max_tokens=4).choices[0]
    assert cut.finish_reason == "length"
    assert cut.message.tool_calls is None


TEXT = 'So:\n<tool_call>\n{"name": "f", "arguments": {"a": {"b": "}\\n"}}}\n</tool_call>\n<tool_call>\n{"name": "g", "arguments": {}}\n</tool_call>'


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_calls_are_read_however_the_text_is_cut(size: int):
    reader = CallReader(calls=True)
    pieces = [TEXT[at : at + size] for at in range(0, len(TEXT), size)]
    parts = [part for n, piece in enumerate(pieces) for part in reader.read(piece, last=n == len(pieces) - 1)]
    assert "".join(part.text for part in parts if isinstance(part, Said)) == "So:\n"
    assert [part.name for part in parts if isinstance(part, Called)] == ["f", "g"]
    arguments = ["".join(p.text for p in parts if isinstance(p, Argued) and p.number == n) for n in (0, 1)]
    assert arguments == ['{"a": {"b": "}\\n"}}', "{}"]
    assert reader.finish_reason("stop") == "tool_calls"


def test_what_only_looks_like_a_call_is_said():
    reader = CallReader(calls=True)
    parts = [*reader.read("a <tool", last=False), *reader.read("s> <tool_ca", last=True)]
    assert all(isinstance(part, Said) for part in parts)
    assert "".join(part.text for part in parts) == "a <tools> <tool_ca"


def test_templates_that_know_tools_render_them(model: LanguageModel):
    own, theirs = model.chat_template, ChatTemplate(model.tokenizer, QWEN)
    assert (knows_tools(own), knows_tools(theirs)) == (False, True)
    messages = [
        ChatMessage(role="user", content="?"),
        ChatMessage.model_validate({"role": "assistant", "tool_calls": [CALL]}),
        ChatMessage(role="tool", tool_call_id="call_1", content="20 °C"),
    ]
    functions = [Function.model_validate(WEATHER["function"])]
    written = '<tool_call>\n{"name": "weather", "arguments": {"city": "北京", "days": 2}}\n</tool_call>'
    for template in (own, theirs):
        ids = ToolTemplate(template, functions).render(turns(messages), add_generation_prompt=True).ids
        text = model.tokenizer.decode(ids, skip_special=False)
        assert written in text
        assert "天气" in text
        assert "20 °C" in text
        assert ("<tool_response>" in text) == (template is own)


RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "x"}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}


def with_parameters(parameters: Any) -> dict:
    return {"tools": [NOW, {"type": "function", "function": {"name": "f", "parameters": parameters}}]}


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        (with_parameters({"type": "string"}), "tools[1].function.parameters", "invalid_value"),
        (with_parameters({"type": "object", "not": {}}), "tools[1].function.parameters", "invalid_function_parameters"),
        (with_parameters({"type": "object", "properties": {"x": {"type": "colour"}}}), "tools[1].function.parameters", "invalid_function_parameters"),
        (with_parameters({"type": "object", "properties": {"x": {"$ref": "#"}}, "required": ["x"]}), "tools[1].function.parameters", "invalid_function_parameters"),
        (with_parameters("x"), "tools[1].function.parameters", "invalid_type"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "invalid_value"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name", "invalid_value"),
        ({"tools": [NOW, NOW]}, "tools", "invalid_value"),
        ({"tools": [NOW] * 129}, "tools", "invalid_value"),
        ({"tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice", "invalid_value"),
        ({"tool_choice": "must"}, "tool_choice", "invalid_value"),
        ({"tool_choice": "required", "tools": []}, "tool_choice", "invalid_value"),
        ({"regex": "a"}, "tools", "invalid_value"),
        ({"messages": [*ASKED, RESULT]}, "messages[1].tool_call_id", "invalid_value"),
        ({"messages": [*ASKED, CALLED, {"role": "tool", "content": "x"}]}, "messages[2].tool_call_id", "invalid_value"),
        ({"messages": [*ASKED, CALLED, *ASKED]}, "messages[1].tool_calls", "invalid_value"),
        ({"messages": [*ASKED, CALLED]}, "messages[1].tool_calls", "invalid_value"),
        ({"messages": [*ASKED, CALLED, {**RESULT, "tool_call_id": "call_2"}]}, "messages[2].tool_call_id", "invalid_value"),
        ({"messages": [{**CALLED, "role": "user"}, RESULT]}, "messages[0].tool_calls", "invalid_value"),
        ({"messages": [*ASKED, {**CALLED, "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "[1]"}}]}, RESULT]}, "messages[1].tool_calls[0].function.arguments", "invalid_value"),
        ({"messages": [*ASKED, {"role": "assistant", "content": None}]}, "messages[1].content", "invalid_type"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(client: openai.OpenAI, change: dict, param: str, code: str):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{**COMMON, "extra_body": change})
    assert (caught.value.param, caught.value.code) == (param, code)

"""Constraints that are wrong are refused before the first token, in both languages, and nothing breaks."""

import re
import sys
from typing import Any

import pytest

from hanlin.base.errors import MissingExtra, RequestError
from hanlin.generate import grammar
from hanlin.generate.controls import Controls
from hanlin.generate.endless import is_endless
from hanlin.generate.parameters import SamplingParameters
from hanlin.tokenizer.tokenizer import Tokenizer


def refusal(tokenizer: Tokenizer, **asked: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        Controls.of(SamplingParameters().changed(asked), [], tokenizer)
    assert next(iter(asked)) in caught.value.problem.en
    assert next(iter(asked)) in caught.value.problem.zh
    assert any("一" <= character <= "龥" for character in caught.value.problem.zh)
    return caught.value


PERSON = {
    "$defs": {"人": {"type": "object", "properties": {"父": {"$ref": "#/$defs/人"}}, "required": ["父"]}},
    "$ref": "#/$defs/人",
}
CHAIN = "start: r0\n" + "".join(f"r{n}: r{n + 1}\n" for n in range(20_000)) + 'r20000: "a"'


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"json_schema": False}, "No text can satisfy"),
        ({"json_schema": PERSON}, "refers to itself without a way out"),
        ({"json_schema": {"type": "integer", "minimum": 5, "maximum": 3}}, r"minimum \(5\) is greater than maximum"),
        ({"json_schema": {"not": {"type": "string"}, "type": "array", "contains": {}}}, '"not".*"contains"|"contains".*"not"'),
        ({"json_schema": {"type": "string", "format": "poem"}}, "Unknown format: poem"),
        ({"json_schema": {"type": "string", "pattern": "(a"}}, "unclosed group"),
        ({"json_schema": {"type": "frob"}}, "frob"),
        ({"json_schema": {"$ref": "#/nowhere"}}, "nowhere"),
        ({"regex": "(a"}, "unclosed group"),
        ({"regex": "(?=a)a"}, "look-ahead"),
        ({"regex": r"(a)\1"}, "backreferences"),
        ({"regex": r"[^\s\S]"}, "No text can satisfy"),
        ({"grammar": 'start: "a"\nrest: ('}, "line 2, column 8"),
        ({"grammar": "start: verse"}, "line 1, column 8.*verse"),
        ({"grammar": 'start: start "a"'}, "No text can satisfy"),
        ({"grammar": CHAIN}, "too complex"),
        ({"grammar": "start: " + "(" * 1000 + '"a"' + ")" * 1000}, "too complex"),
        ({"json_schema": {"type": "integer", "multipleOf": 1_000_003}}, "too complex"),
    ],
)  # fmt: skip
def test_what_is_refused(tokenizer: Tokenizer, asked: dict[str, Any], words: str) -> None:
    pytest.importorskip("llguidance")
    problem = refusal(tokenizer, **asked).problem
    assert re.search(words, problem.en)


def test_choices_that_cannot_be_long_enough(tokenizer: Tokenizer) -> None:
    pytest.importorskip("llguidance")
    length = len(tokenizer.encode("不亦说乎"))
    asked = SamplingParameters(choices=("不亦说乎", "不"))
    assert Controls.of(asked.changed({"min_new_tokens": length}), [], tokenizer) is not None
    with pytest.raises(RequestError, match=f"the longest of the choices has {length} tokens"):
        Controls.of(asked.changed({"min_new_tokens": length + 1}), [], tokenizer)


def test_without_the_package_it_is_named(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingExtra, match=r"hanlin\[structured\]"):
        Controls.of(SamplingParameters(regex="never compiled before"), [], tokenizer)


def test_a_constraint_is_compiled_once(tokenizer: Tokenizer) -> None:
    pytest.importorskip("llguidance")
    asked = SamplingParameters(choices=("compiled", "once"))
    before = grammar._compiled.cache_info()
    for _ in range(3):
        Controls.of(asked, [], tokenizer)
    after = grammar._compiled.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 2)


def obj(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


SELF = {"$ref": "#"}


@pytest.mark.parametrize(
    ("schema", "endless"),
    [
        ({}, False),
        (SELF, True),
        (obj([], a=SELF), False),
        (obj(["a"], a=SELF), True),
        (obj(["a"], a={"anyOf": [SELF, {"type": "null"}]}), False),
        (obj(["a"], a={"type": "array", "items": SELF}), False),
        (obj(["a"], a={"type": "array", "items": SELF, "minItems": 1}), True),
        (obj(["a"], a={"type": ["object", "null"], "properties": {"b": SELF}, "required": ["b"]}), False),
        (obj(["a"], a={"type": "array", "prefixItems": [{}, SELF], "minItems": 1}), False),
        (obj(["a"], a={"type": "array", "prefixItems": [{}, SELF], "minItems": 2}), True),
        (obj(["b"], b={"allOf": [{}, SELF]}), True),
        ({"$defs": {"a/b": obj(["c"], c={"$ref": "#/$defs/a~1b"})}, "$ref": "#/$defs/a~1b"}, True),
        (
            {"$defs": {"a": obj(["c"], c={"$ref": "#/$defs/b"}), "b": {"const": 1}}, "$ref": "#/$defs/a"},
            False,
        ),
        ({"$ref": "#/$defs/missing"}, False),
    ],
)
def test_schemas_without_end(schema: dict[str, Any], endless: bool) -> None:
    assert is_endless(schema) == endless

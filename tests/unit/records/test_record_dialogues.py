"""Conversations in every form that people have them, and turns that are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from hanlin.base.records import Dialogue
from hanlin.records.config import DataConfig
from hanlin.records.load import load_records
from hanlin.records.loaded import Loaded

TALK = [("user", "你好"), ("assistant", "好")]


def load(tmp_path: Path, *rows: dict[str, Any], **settings: Any) -> Loaded[Dialogue]:
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return load_records(Dialogue, [file], DataConfig.model_validate(settings))


def said(record: Dialogue) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in record.messages]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "好"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "你好"}]}, {"role": "assistant", "content": "好"}]},
        {"conversations": [{"from": "human", "value": "你好"}, {"from": "gpt", "value": "好"}], "system": ""},
        {"instruction": "你好", "input": "", "output": "好"},
        {"prompt": "你好", "response": "好"},
        {"问题": "你好", "回答": "好"},
        {"turns": ["你好", "好"]},
        {"id": 1, "messages": [{"role": "usr", "content": "你好"}, {"role": "sys", "content": "好"}]},
    ],
)  # fmt: skip
def test_every_form_is_the_same_conversation(tmp_path: Path, row: dict[str, Any]) -> None:
    assert said(load(tmp_path, row).records[0]) == TALK


def test_system_prompts_inputs_and_history_are_kept(tmp_path: Path) -> None:
    assert said(load(tmp_path, {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}],
                                "system": "S"}).records[0])[0] == ("system", "S")  # fmt: skip
    row = {
        "instruction": "Edit.",
        "input": "He go",
        "output": "He goes",
        "system": "S",
        "history": [["a", "b"]],
    }
    assert said(load(tmp_path, row).records[0]) == [
        ("system", "S"), ("user", "a"), ("assistant", "b"), ("user", "Edit.\nHe go"), ("assistant", "He goes"),
    ]  # fmt: skip


def test_answers_with_weight_nought_are_not_learned(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "weight": 0},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d"},
    ]
    assert [turn.learn for turn in load(tmp_path, {"messages": turns}).records[0].messages] == [
        True,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        (
            [{"from": "human", "value": "a"}, {"from": "function_call", "value": "{}"}],
            "message 2 is a tool's",
        ),
        ([{"from": "human", "value": "a"}, {"from": "narrator", "value": "b"}], "unknown role 'narrator'"),
        ([{"from": "human", "value": "a"}], "nothing that could be learned"),
        ([{"from": "human", "value": "a"}, {"from": "gpt", "value": " "}], "'message 2' is empty"),
        ([{"value": "a"}], "message 1 has no role"),
        ([], "is empty"),
    ],
)
def test_what_cannot_be_learned_from_is_named(
    tmp_path: Path, turns: list[dict[str, str]], reason: str
) -> None:
    good = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
    loaded = load(tmp_path, good, {"conversations": turns}, on_error="skip")
    assert len(loaded) == 1
    assert reason in loaded.skipped[0].reason.en


def test_conversations_of_several_forms_go_together(tmp_path: Path) -> None:
    alpaca = tmp_path / "alpaca.jsonl"
    alpaca.write_text('{"instruction": "a", "output": "b"}\n')
    other = tmp_path / "sharegpt.json"
    other.write_text('[{"conversations": [{"from": "human", "value": "c"}, {"from": "gpt", "value": "d"}]}]')
    assert len(load_records(Dialogue, [alpaca, other], DataConfig())) == 2

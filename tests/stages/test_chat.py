"""The terminal chat: both sides are kept, commands work, a turn that can not be answered is not kept."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hanlin.generate.language_model import LanguageModel, load
from hanlin.stages.chat import run_chat
from serving import make_model_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder: Path = make_model_folder(tmp_path_factory.mktemp("chat"))
    return load(folder, "cpu")


def says(*lines: str) -> Callable[[], str | None]:
    rest = iter(lines)
    return lambda: next(rest, None)


def test_both_sides_of_the_conversation_are_kept(
    model: LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = run_chat(
        model, "Be brief.", says("你好", "", "Who are you?"), temperature=0, max_new_tokens=64
    )
    assert [message.role for message in messages] == ["system", "user", "assistant", "user", "assistant"]
    assert all(message.content for message in messages)
    out, err = capsys.readouterr()
    assert out == f"{messages[2].content}\n{messages[4].content}\n"
    assert "tokens" in err


def test_answers_are_those_of_the_model_without_a_system_turn(model: LanguageModel) -> None:
    messages = run_chat(model, None, says("你好"), temperature=0, max_new_tokens=64)
    assert messages[1].content == "你好！我是翰林。"


def test_reset_forgets_and_quit_ends(model: LanguageModel) -> None:
    lines = says("你好", "/reset", "/nonsense", "Who are you?", "/quit", "你好")
    messages = run_chat(model, None, lines, temperature=0, max_new_tokens=64)
    assert [message.content for message in messages] == ["Who are you?", "I am Hanlin."]


def test_a_turn_that_cannot_be_answered_is_told_and_not_kept(
    model: LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = run_chat(model, None, says("z" * 9000, "你好"), temperature=0, max_new_tokens=64)
    assert [message.role for message in messages] == ["user", "assistant"]
    assert messages[0].content == "你好"
    assert "window" in capsys.readouterr().err

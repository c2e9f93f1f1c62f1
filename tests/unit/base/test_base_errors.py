import pytest

from hanlin.base.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DiskError,
    HanlinError,
    MissingExtra,
    RequestError,
    TrainingError,
)
from hanlin.base.language import Text, speaks_chinese


def in_locale(monkeypatch, **variables):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_an_error_says_what_and_what_to_do_in_the_language_of_its_reader(monkeypatch):
    error = DataError(Text("The file is empty.", "文件是空的。"), Text("Give another.", "请换一个。"))
    in_locale(monkeypatch, LC_ALL="zh_CN.UTF-8")
    assert str(error) == "文件是空的。\n请换一个。"
    in_locale(monkeypatch, LC_ALL="en_US.UTF-8")
    assert str(error) == "The file is empty.\nGive another."


@pytest.mark.parametrize(
    ("variables", "chinese"),
    [
        ({"LC_ALL": "zh_TW.UTF-8", "LANG": "en_US.UTF-8"}, True),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, False),
        ({"LC_MESSAGES": "zh_CN.UTF-8", "LANG": "de_DE.UTF-8"}, True),
        ({"LC_ALL": "", "LANG": "zh_SG"}, True),
        ({"LANG": "C.UTF-8"}, False),
    ],
)
def test_the_first_locale_variable_that_is_set_decides(monkeypatch, variables, chinese):
    in_locale(monkeypatch, **variables)
    assert speaks_chinese() is chinese


@pytest.mark.parametrize(
    "kind", [ConfigError, DataError, CheckpointError, TrainingError, RequestError, DiskError]
)
def test_every_mistake_of_a_user_ends_with_exit_code_2(kind):
    error = kind(Text("a", "甲"), Text("b", "乙"))
    assert isinstance(error, HanlinError)
    assert error.exit_code == 2


def test_a_missing_extra_names_the_command_that_installs_it(monkeypatch):
    in_locale(monkeypatch, LC_ALL="en_US.UTF-8")
    error = MissingExtra(Text("Reading Parquet", "读取 Parquet"), "data")
    assert str(error) == (
        "Reading Parquet needs packages that are not installed.\nInstall them: pip install 'hanlin[data]'"
    )

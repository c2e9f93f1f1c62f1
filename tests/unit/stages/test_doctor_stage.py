"""What `hanlin doctor` finds: which engine runs, and what is missing with its remedy."""

import tomllib
from pathlib import Path

import pytest

from hanlin.base.language import Text
from hanlin.kernel.library import available, instructions
from hanlin.stages import doctor
from hanlin.stages.doctor import EXTRAS, examine_machine


def found(folder, name):
    return next(one for one in examine_machine(folder) if one.name.partition(" (")[0] == name)


@pytest.mark.skipif(not available(), reason="the kernel is not built")
def test_the_kernel_and_its_instructions_are_named(tmp_path):
    engine = found(tmp_path, "engine")
    assert engine.value == f"native kernel ({instructions()})"
    assert engine.remedy == ""


def test_without_the_kernel_it_says_why_and_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "why_not", lambda: Text("it is not built", "尚未编译"))
    engine = found(tmp_path, "engine")
    assert engine.value == "PyTorch: it is not built"
    assert engine.remedy.endswith("-m hanlin.kernel.build")
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert found(tmp_path, "引擎").value == "PyTorch：尚未编译"
    assert found(tmp_path, "磁盘").value.endswith("可用")


def test_missing_packages_are_told_with_what_installs_them(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_installed", lambda package: package != "llguidance")
    structured = found(tmp_path, "structured")
    assert structured.value == "missing: llguidance"
    assert structured.remedy == "pip install 'hanlin[structured]'"
    assert found(tmp_path, "gguf").remedy == ""
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert "vllm" in found(tmp_path, "engine vLLM").remedy


def test_the_extras_are_those_of_the_package():
    file = Path(__file__).parents[3] / "pyproject.toml"
    extras = tomllib.loads(file.read_text("utf-8"))["project"]["optional-dependencies"]
    for extra, (_, packages) in EXTRAS.items():
        asked = {line.partition(">=")[0].partition("[")[0].lower() for line in extras[extra]}
        assert {package.lower() for package in packages} <= asked, extra

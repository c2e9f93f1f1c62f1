"""The snippets of docs/finetuning-objectives.md run, each going on from the one before."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "finetuning-objectives.md"


def test_the_snippets_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 10
    for number, code in enumerate(blocks):
        exec(compile(code, f"snippet {number}", "exec"), names)
    printed = capsys.readouterr().out
    assert "Lengths(records=3" in printed
    assert 0 <= float(printed.split()[-1]) <= 1

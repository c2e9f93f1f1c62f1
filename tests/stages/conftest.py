"""A tiny real life: the reference topics of the installed Python, and a recipe that takes seconds."""

import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics

import pytest
import yaml

RECIPE = {
    "corpus": {"sources": ["texts"], "split": {"valid": 0.15, "test": 0.15}},
    "tokenizer": {"vocab_size": 400},
    "model": {"width": 32, "layers": 2, "heads": 2, "window": 64, "dropout": 0.1, "style": "gpt2"},
    "pretrain": {
        "steps": 24,
        "batch_rows": 4,
        "micro_rows": 2,
        "warmup": 2,
        "evaluate_every": 6,
        "save_every": 3,
        "log_every": 2,
        "validation_rows": 8,
        "device": "cpu",
    },
    "evaluate": {"prompts": ["The statement"], "max_new_tokens": 8, "resamples": 100, "ngram_order": 3},
    "folder": "run",
}


def hanlin(*arguments: str, cwd: Path, language: str = "C.UTF-8") -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "hanlin.cli", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": language, "OMP_NUM_THREADS": "1", "HOME": str(cwd)},
    )


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder with a recipe and forty short texts."""
    (tmp_path / "texts").mkdir()
    for name in sorted(topics)[:40]:
        (tmp_path / "texts" / f"{name}.txt").write_text(topics[name][:3000], "utf-8")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE), "utf-8")
    return tmp_path

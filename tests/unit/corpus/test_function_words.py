import json

import numpy as np
import pytest

from hanlin.corpus.config import CorpusConfig
from hanlin.corpus.function_words import FunctionWords
from hanlin.corpus.pipeline import build_corpus

ENGLISH = "the scholar reads a book in the hall and writes of the old days to a friend who is far away "
CHINESE = "学士在翰林院中读书而不倦，其所作之文也为世人所称道，我们的朋友来了。"


def seen(text):
    counter = FunctionWords()
    counter.add(text)
    return [str(warning.en) for warning in counter.warnings()]


@pytest.mark.parametrize("text", [ENGLISH * 400, CHINESE * 300, (ENGLISH + CHINESE) * 300])
def test_running_text_is_fine(text):
    assert seen(text) == []


def test_text_without_its_small_words_is_noticed():
    stripped = " ".join(word for word in ENGLISH.split() if len(word) > 3)
    (warning,) = seen((stripped + " ") * 900)
    assert "English" in warning
    assert "stop words removed" in warning
    (warning,) = seen("学士翰林院读书倦作文世人称道朋友来" * 400)
    assert "Chinese" in warning


def test_little_text_says_nothing():
    assert seen("scholar book hall " * 50) == []


def test_the_corpus_stage_says_so(tmp_path):
    words = [
        "scholar",
        "book",
        "hall",
        "friend",
        "wrote",
        "days",
        "ancient",
        "courtyard",
        "pavilion",
        "brush",
        "lantern",
        "river",
    ]
    random = np.random.default_rng(0)
    for number in range(60):
        lines = [" ".join(random.choice(words, 9)) for _ in range(20)]
        (tmp_path / f"{number}.txt").write_text("\n".join(lines) + "\n")
    config = CorpusConfig.model_validate({"sources": [str(tmp_path)], "split": {"valid": 0.2, "test": 0.2}})
    build_corpus(config, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert any("stop words" in warning for warning in report["warnings"])
    assert "stop words" in (tmp_path / "out" / "CARD.md").read_text()

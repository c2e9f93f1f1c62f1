"""A tokenizer trained on a few lines of English and Chinese, as a folder."""

from pathlib import Path

import pytest

from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer

ENGLISH = (
    "The scholars of the academy read the histories, and the emperor asked them what the rivers would do "
    "in spring. "
    "In 1723 there were 1,024 books on the shelves; by 1782 the great library held 36,000 volumes. "
    "def answer(question):\n    return library[question]  # it's simple, isn't it?\n"
)
CHINESE = (
    "翰林院的学士们读史书，皇帝问他们春天河水会怎样。乾隆年间编成《四库全书》，共收书三千四百六十余种，七万九千余卷。"
    "学而时习之，不亦说乎？有朋自远方来，不亦乐乎？人不知而不愠，不亦君子乎？\n"
)
TEXTS = [ENGLISH * 4, CHINESE * 4, ENGLISH + CHINESE, "user\nassistant\nsystem\n" * 3]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    save_trained(train_bpe(TEXTS, TokenizerConfig(vocab_size=460)), path)
    return path


@pytest.fixture(scope="session")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.load(folder)


@pytest.fixture(scope="session")
def english() -> str:
    return ENGLISH


@pytest.fixture(scope="session")
def chinese() -> str:
    return CHINESE

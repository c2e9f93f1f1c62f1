"""Words of Chinese and English text (分词), for metrics, whole-word masking and word vectors."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from hanlin.base.errors import MissingExtra
from hanlin.base.language import Text
from hanlin.corpus.units import UNSPACED

_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_PART = re.compile(
    f"(?P<han>[{_HAN}]+)|[{UNSPACED}]"
    rf"|[^\W_{UNSPACED}]+(?:(?:['’\-]|(?<=\d)[.,](?=\d))[^\W_{UNSPACED}]+)*"
    r"|\S"
)


def words(text: str) -> list[str]:
    """The words of `text` in order; joined, they are `text` without its white space.

    Han characters are cut by the dictionary and hidden Markov model of jieba (Sun 2012), letters and digits
    of spaced scripts at spaces and punctuation ("don't", "e-mail", "3.14" stay whole), kana, Thai and the
    like into characters. A punctuation mark is a word of its own. Raises `MissingExtra` when `text` has Han
    characters and `rjieba` is not installed.
    """
    return [text[start:end] for start, end in word_spans(text)]


def word_spans(text: str) -> list[tuple[int, int]]:
    """Where each of `words` begins and ends in `text`, in characters; raises as `words`."""
    return list(_spans(text))


def _spans(text: str) -> Iterator[tuple[int, int]]:
    for part in _PART.finditer(text):
        if part["han"] is None:
            yield part.span()
            continue
        start = part.start()
        for word in _chinese().cut(part["han"]):
            yield start, start + len(word)
            start += len(word)


@cache
def _chinese() -> Any:
    try:
        import rjieba
    except ImportError as error:
        raise MissingExtra(Text("Cutting Chinese into words", "中文分词"), "zh") from error
    return rjieba

"""Text as words that metrics count: the same in Chinese and English, where each script writes what it takes for one."""

import re
import string
import unicodedata
from collections.abc import Iterable
from typing import Literal

from hanlin.corpus.units import UNSPACED, count_unspaced, units
from hanlin.tokenizer.words import words

Script = Literal["spaced", "han", "unspaced"]
"""han: mostly Han characters. unspaced: mostly other letters without spaces between words (kana, Thai), or mixed with
them. spaced: all else."""

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]")
_KANA = re.compile("[\u3040-\u30ff]")
_APART = re.compile(f"[{UNSPACED}]|[^{UNSPACED}]+")
_ARTICLES = frozenset({"a", "an", "the"})


def script_of(texts: Iterable[str]) -> Script:
    """What most letters of all texts together are written in."""
    letters = unspaced = han = kana = 0
    for text in texts:
        letters += sum(map(str.isalpha, text))
        unspaced += count_unspaced(text)
        han += len(_HAN.findall(text))
        kana += len(_KANA.findall(text))
    if 2 * unspaced <= letters:
        return "spaced"
    return "han" if 2 * han > unspaced and 20 * kana < unspaced else "unspaced"


def counted_words(text: str) -> list[str]:
    """Lower-case words of spaced scripts, and single letters of Han, kana, Thai; no punctuation, no underscore.

    Of ASCII text these are the tokens of the `rouge_score` package without stemming.
    """
    return [word for unit in units(text) for word in unit.split("_") if word]


def segmented_words(text: str) -> list[str]:
    """As `counted_words`, but Han characters are joined to the words of a dictionary (extra `zh`)."""
    return [word.lower() for word in words(text) if any(map(str.isalnum, word))]


def answer_words(text: str) -> list[str]:
    """The words of an answer, so normalised that unimportant differences are gone.

    Lower case; punctuation is deleted, and what it parted is joined ("U.S." is "us"); the words a, an, the are left out
    (Rajpurkar et al. 2016, section 6.1). Letters of unspaced scripts are words of their own (Lewis et al. 2020, MLQA).
    Unlike the script of SQuAD, punctuation outside ASCII ('’', '。') goes as well.
    """
    kept = "".join(letter for letter in text.lower() if not _is_punctuation(letter))
    return [part for word in kept.split() if word not in _ARTICLES for part in _APART.findall(word)]


def _is_punctuation(letter: str) -> bool:
    return letter in string.punctuation or unicodedata.category(letter).startswith("P")

"""Text as units that can be counted in any script: words where words are spaced, single characters elsewhere."""

import re

UNSPACED = "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\U00020000-\U0003ffff"
"""Han, kana, Thai, Lao, Burmese, Khmer: scripts written without spaces between words."""

_UNIT = re.compile(f"[{UNSPACED}]|[^\\W{UNSPACED}]+")
_UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")


def units(text: str) -> list[str]:
    """The words of spaced scripts and the single letters of unspaced ones, in order, in lower case.

    White space, punctuation and symbols are left out.
    """
    return _UNIT.findall(text.lower())


def count_unspaced(text: str) -> int:
    """How many letters of unspaced scripts (Han, kana, Thai, ...) a text has."""
    return len(_UNSPACED_LETTER.findall(text))

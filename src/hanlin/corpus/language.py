"""The language of a text, by py3langid (langid.py, Lui and Baldwin 2012; the model is inside the package)."""

import re
from collections.abc import Callable

from hanlin.base.errors import MissingExtra
from hanlin.base.language import Text
from hanlin.corpus.units import count_unspaced

LOOKED_AT = 2_000
"""Characters that are looked at; more of them change the answer for hardly any text."""

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_KANA = re.compile("[\u3040-\u30ff]")


def language_identifier() -> Callable[[str], str]:
    """Return a function from a text to its ISO 639-1 code ("" if it has no letters)."""
    try:
        from py3langid import classify
    except ImportError as error:
        raise MissingExtra(Text("Identifying languages", "语种识别"), "data") from error

    def identify(text: str) -> str:
        head = text[:LOOKED_AT]
        letters = sum(map(str.isalpha, head))
        if letters == 0:
            return ""
        if _is_chinese(head, letters):
            return "zh"
        return str(classify(head)[0])

    return identify


def _is_chinese(text: str, letters: int) -> bool:
    """Most letters are Han and there is next to no kana: on short Chinese texts the model wavers, the script does not."""
    han = len(_HAN.findall(text))
    return 2 * han > letters and 20 * len(_KANA.findall(text)) < count_unspaced(text)

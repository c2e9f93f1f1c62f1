"""Text in English and Chinese, chosen by the locale of the person reading it."""

import locale
import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Text:
    """One message in both languages; `str()` gives the one for the current locale."""

    en: str
    zh: str

    def __str__(self) -> str:
        return self.zh if speaks_chinese() else self.en


def speaks_chinese() -> bool:
    """Whether the locale of this process is Chinese (LC_ALL, LC_MESSAGES, LANG, in POSIX order)."""
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(variable, "")
        if value:
            return value.lower().startswith("zh")
    return (locale.getlocale()[0] or "").lower().startswith(("zh", "chinese"))

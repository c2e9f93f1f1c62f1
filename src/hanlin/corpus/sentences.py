"""Cutting text into sentences, Chinese and English alike; nothing is lost but the space between them."""

import re
from itertools import pairwise

ABBREVIATIONS = frozenset({
    "mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "vs", "etc", "e.g", "i.e", "cf", "fig", "eq", "sec", "no", "vol", "pp", "al", "inc", "ltd", "co", "corp", "dept", "gen", "col", "sgt", "capt", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "u.s", "u.k", "ph.d", "a.m", "p.m"
})  # fmt: skip
"""English words whose full stop rarely ends a sentence, in lower case."""

_CLOSING = re.escape("”’\"'」』）)》】]")
_ENDS = re.compile(
    rf"[。！？!?…]+[{_CLOSING}]*"  # Chinese and strong ends: anywhere
    rf"|\.+[{_CLOSING}]*(?=\s)"  # a full stop: before space
    r"|\n+"
)
_LAST_WORD = re.compile(r"([\w.]+)$")


def split_sentences(text: str) -> list[str]:
    """The sentences of `text` in order, stripped, none of them empty.

    A Chinese or strong end mark ends one wherever it stands, with the quotes and brackets that close after it; a
    full stop does before white space, but not after an abbreviation or an initial, nor where a small letter follows.
    A line break always does.
    """
    pieces, start = [], 0
    for match in _ENDS.finditer(text):
        if match[0].startswith(".") and not _ends_here(text, match):
            continue
        if (
            match[0][0] in "!?"
            and text[match.end() : match.end() + 1].isalnum()
            and text[match.end()].isascii()
        ):
            continue  # within a word or a link, as in a?b=1
        pieces.append(text[start : match.end()])
        start = match.end()
    return [piece.strip() for piece in [*pieces, text[start:]] if piece.strip()]


def cut_at_sentences(text: str) -> list[str]:
    """`text` in pieces of one sentence each, with the space before it; joined, they are `text`."""
    borders, place = [0], 0
    for sentence in split_sentences(text)[:-1]:
        place = text.index(sentence, place) + len(sentence)
        borders.append(place)
    return [text[start:stop] for start, stop in pairwise([*borders, len(text)])]


def _ends_here(text: str, match: re.Match[str]) -> bool:
    word = _LAST_WORD.search(text[max(0, match.start() - 20) : match.start()])
    before = word[1].lower() if word else ""
    initial = len(before) == 1 and before.isalpha() and before.isascii() and before != "i"
    if match[0] == "." and (before in ABBREVIATIONS or initial):
        return False
    following = text[match.end() :].lstrip()[:1]
    return not following.islower()

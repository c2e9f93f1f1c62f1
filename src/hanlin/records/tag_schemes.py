"""Schemes of tags of spans, and every one of them as BIO (IOB2).

BIO/IOB2 and IOB1: Tjong Kim Sang & Veenstra 1999 (cs/9907006); BIOES, BMES, BILOU: the last word (E, L) and a span of one
word (S, U) have letters of their own (Ratinov & Roth 2009, aclanthology W09-1119).
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

Scheme = Literal["BIO", "IOB1", "BIOES", "BMES", "BILOU"]

_TAG = re.compile(r"([BIOEMSLU])[-_](.+)")
_LETTERS: dict[str, str] = {"M": "I", "E": "I", "L": "I", "S": "B", "U": "B"}
_MISTAKES = 0.05
"""Tags of no scheme for each that is of one, up to which they are taken for mistakes."""


def scheme_of(sentences: Iterable[Sequence[str]]) -> Scheme | None:
    """The scheme of the tags, or None if they are tags of single words, such as parts of speech.

    A few tags of no scheme among many that are of one are mistakes, which `invalid_place` finds.
    """
    letters: set[str] = set()
    of_scheme = of_none = 0
    begins_after_itself = begins_elsewhere = enters = False
    for tags in sentences:
        before = "O"
        for tag in tags:
            found = _TAG.fullmatch(tag)
            of_none += found is None and tag != "O"
            if found is not None:
                of_scheme += 1
                letters.add(found[1])
                same = before != "O" and before[2:] == found[2]
                if found[1] == "B":
                    begins_after_itself |= same
                    begins_elsewhere |= not same
                enters |= found[1] == "I" and not same
            before = tag
    if not letters or of_none > _MISTAKES * of_scheme:
        return None
    if letters & {"L", "U"}:
        return "BILOU"
    if "M" in letters:
        return "BMES"
    if letters & {"E", "S"}:
        return "BIOES"
    return "IOB1" if enters and not begins_elsewhere else "BIO"


def as_bio(tags: Sequence[str], scheme: Scheme) -> tuple[str, ...]:
    """Tags of a scheme as BIO; what is invalid in them stays so."""
    found: list[str] = []
    before = "O"
    for tag in tags:
        parts = _TAG.fullmatch(tag)
        if parts is None:
            found.append(tag)
        elif scheme == "IOB1" and parts[1] == "I" and before[2:] != parts[2]:
            found.append(f"B-{parts[2]}")
        else:
            found.append(f"{_LETTERS.get(parts[1], parts[1])}-{parts[2]}")
        before = "O" if parts is None else f"{parts[1]}-{parts[2]}"
    return tuple(found)


def invalid_place(tags: Sequence[str]) -> int | None:
    """The first place of BIO tags with an I-X that goes on with no X, or a tag that is none; None if there is none."""
    for place, (before, tag) in enumerate(zip(["O", *tags], tags, strict=False)):
        if tag != "O" and _TAG.fullmatch(tag) is None:
            return place
        if tag[:2] == "I-" and (before == "O" or before[2:] != tag[2:]):
            return place
    return None

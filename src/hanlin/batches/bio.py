"""Tags of spans. BIO: B-X begins a span of kind X, I-X goes on with it, O is outside of all. BIOES: besides, E-X ends a
span, and S-X is a whole one.

Where all spans are of one kind, such as words in Chinese text, the letters can stand alone.

Source: Ramshaw & Marcus 1995 (cmp-lg/9505040), in the form in which every span begins with B (Tjong Kim Sang &
Veenstra 1999, cs/9907006: IOB2); BIOES: Ratinov & Roth 2009 (aclanthology W09-1119).
"""

import re
from collections.abc import Iterable, Sequence

TaggedSpan = tuple[str, int, int]
"""Kind, first place, last place + 1."""

_TAG = re.compile(r"[BIES](-.+)?")


def is_bio(names: Sequence[str]) -> bool:
    """Whether these are the tags of spans, in either scheme, and not of single words, such as parts of speech."""
    tags = [name for name in names if name != "O"]
    alike = len({len(tag) > 1 for tag in tags}) == 1
    return alike and all(_TAG.fullmatch(tag) for tag in tags) and any(tag[0] == "B" for tag in tags)


def is_bioes(names: Iterable[str]) -> bool:
    """Whether these tags of spans mark their ends."""
    return any(name[:1] in ("E", "S") for name in names)


def kinds_of(names: Iterable[str]) -> list[str]:
    """The kinds of the spans, in order of first mention; `""` for letters that stand alone."""
    return list(dict.fromkeys(name[2:] for name in names if name != "O"))


def bio_tags(kinds: Iterable[str], ends: bool = False) -> tuple[str, ...]:
    """O and every tag of each kind; with `ends`, of BIOES."""
    return ("O", *(_tag(letter, kind) for kind in kinds for letter in ("BIES" if ends else "BI")))


def may_follow(before: str, tag: str, ends: bool = False) -> bool:
    """Whether `tag` can stand after `before`; what is before the first tag and after the last one is O."""
    goes_on = tag[:1] in ("I", "E")
    is_open = before[:1] in (("B", "I") if ends else ("B", "I", "E", "S")) and before[2:] == tag[2:]
    if goes_on:
        return is_open
    return not ends or before[:1] not in ("B", "I")


def first_invalid(tags: Sequence[str]) -> int | None:
    """The first place with a tag I-X that goes on with no span of kind X; None if there is none."""
    pairs = zip(["O", *tags], tags, strict=False)
    return next((place for place, pair in enumerate(pairs) if not may_follow(*pair)), None)


def spans(tags: Sequence[str]) -> list[TaggedSpan]:
    """The spans in order. An I-X or E-X that goes on with none begins one, as in the scoring of CoNLL-2000 (conlleval)."""
    found: list[TaggedSpan] = []
    kind: str | None = None
    start = 0
    for place, tag in enumerate([*tags, "O"]):
        goes_on = tag[:1] in ("I", "E") and tag[2:] == kind
        if kind is not None and not goes_on:
            found.append((kind, start, place))
        if tag == "O":
            kind = None
        elif not goes_on:
            kind, start = tag[2:], place
        if kind is not None and tag[:1] in ("E", "S"):
            found.append((kind, start, place + 1))
            kind = None
    return found


def write_tags(found: Iterable[TaggedSpan], length: int, ends: bool = False) -> list[str]:
    """The tags of `length` places with these spans, which do not overlap."""
    tags = ["O"] * length
    for kind, start, stop in found:
        letters = "B" + "I" * (stop - start - 1)
        if ends:
            letters = "S" if len(letters) == 1 else letters[:-1] + "E"
        tags[start:stop] = [_tag(letter, kind) for letter in letters]
    return tags


def _tag(letter: str, kind: str) -> str:
    return f"{letter}-{kind}" if kind else letter

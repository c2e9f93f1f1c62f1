"""BIO tags: B-X begins a span of kind X, I-X goes on with it, O is outside of all.

Source: Ramshaw & Marcus 1995 (cmp-lg/9505040), in the form in which every span begins with B (Tjong Kim Sang &
Veenstra 1999, cs/9907006: IOB2).
"""

from collections.abc import Sequence

TaggedSpan = tuple[str, int, int]
"""Kind, first place, last place + 1."""


def is_bio(names: Sequence[str]) -> bool:
    """Whether these are the tags of spans, and not of single words, such as parts of speech."""
    return any(name[:2] == "B-" for name in names) and all(
        name == "O" or name[:2] in ("B-", "I-") for name in names
    )


def first_invalid(tags: Sequence[str]) -> int | None:
    """The first place with a tag I-X that goes on with no span of kind X; None if there is none."""
    for place, (before, tag) in enumerate(zip(["O", *tags], tags, strict=False)):
        if tag[:2] == "I-" and (before == "O" or before[2:] != tag[2:]):
            return place
    return None


def spans(tags: Sequence[str]) -> list[TaggedSpan]:
    """The spans in order. An I-X that goes on with none begins one, as in the scoring of CoNLL-2000 (conlleval)."""
    found: list[TaggedSpan] = []
    kind, start = "", 0
    for place, tag in enumerate([*tags, "O"]):
        goes_on = tag[:2] == "I-" and tag[2:] == kind
        if kind and not goes_on:
            found.append((kind, start, place))
        if tag == "O":
            kind = ""
        elif not goes_on:
            kind, start = tag[2:], place
    return found

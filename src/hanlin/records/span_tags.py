"""Spans of a text as tags of its words, and tags of words as spans of their text."""

import itertools
import re
from collections.abc import Sequence

from hanlin.base.records import Span
from hanlin.corpus.units import UNSPACED

_WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+|[^\w\s]")
_UNSPACED = re.compile(f"[{UNSPACED}]")


def tags_of_spans(text: str, spans: Sequence[Span]) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """(words, their BIO tags, how many spans are left out as they overlap a longer one) of a text.

    Words are runs of letters and digits, and single characters of scripts without spaces and of punctuation; where a span
    begins or ends within a word, the word is cut.
    """
    kept: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.start - one.stop, one.start)):
        if all(span.stop <= one.start or one.stop <= span.start for one in kept):
            kept.append(span)
    edges = sorted({edge for span in kept for edge in (span.start, span.stop)})
    pieces = [piece for word in _WORD.finditer(text) for piece in _cut(word.start(), word.end(), edges)]
    tags: list[str] = []
    before: Span | None = None
    for start, _ in pieces:
        inside = next((one for one in kept if one.start <= start < one.stop), None)
        tags.append("O" if inside is None else f"{'I' if inside is before else 'B'}-{inside.kind}")
        before = inside
    return tuple(text[start:stop] for start, stop in pieces), tuple(tags), len(spans) - len(kept)


def spans_of_tags(words: Sequence[str], tags: Sequence[str]) -> tuple[str, tuple[Span, ...]]:
    """(the text of the words, its spans) of valid BIO tags; a space stands between words of scripts that have spaces."""
    text, spans, kind, start, stop = "", list[Span](), "", 0, 0
    for before, word, tag in zip(["", *words], words, [*tags], strict=False):
        if text and not (_UNSPACED.match(word) or _UNSPACED.match(before[-1:])):
            text += " "
        if kind and tag != f"I-{kind}":
            spans.append(Span(start=start, stop=stop, kind=kind))
            kind = ""
        if tag[:2] == "B-":
            kind, start = tag[2:], len(text)
        text += word
        stop = len(text)
    if kind:
        spans.append(Span(start=start, stop=stop, kind=kind))
    return text, tuple(spans)


def _cut(start: int, stop: int, edges: Sequence[int]) -> list[tuple[int, int]]:
    inside = [start, *(edge for edge in edges if start < edge < stop), stop]
    return list(itertools.pairwise(inside))

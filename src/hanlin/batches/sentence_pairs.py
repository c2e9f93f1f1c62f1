"""Sentence pairs for next-sentence prediction: does the second follow the first?

Source: arXiv 1810.04805, section 3.1, task 2, and appendix A.2.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from numpy.random import Generator

from hanlin.base.errors import DataError
from hanlin.base.language import Text

Sentence = Sequence[int]
"""Token ids of one sentence."""


@dataclass(frozen=True)
class SentencePair:
    """Two stretches of text as token ids, and whether the second followed the first in its document."""

    first: list[int]
    second: list[int]
    follows: bool


def sentence_pairs(
    documents: Sequence[Sequence[Sentence]], length: int, random: Generator
) -> Iterator[SentencePair]:
    """Walk through all documents once; half of the pairs, by chance, are adjacent, half are not.

    Sentences are gathered up to about `length` tokens, and cut between two of them. The second stretch of a
    negative pair comes from another document, so it is never in truth the next; the sentences that it took the
    place of are used again. A pair longer than `length` loses its last tokens from the longer side first.
    Raises `DataError` where there are fewer than two documents with sentences, as negatives need another.
    """
    documents = [document for document in documents if document]
    if len(documents) < 2:
        raise DataError(
            Text(
                f"Sentence pairs need at least two documents with sentences; there are {len(documents)}.",
                f"句对至少需要两篇含句子的文档；现有 {len(documents)} 篇。",
            ),
            Text("Give more documents, or cut long ones apart.", "请提供更多文档，或将长文档切开。"),
        )
    for index, document in enumerate(documents):
        place = 0
        while place < len(document) - 1:
            stop = _gather(document, place, length)
            middle = int(random.integers(place + 1, max(stop, place + 2)))
            stop = max(stop, middle + 1)
            first = _joined(document[place:middle])
            follows = bool(random.random() < 0.5)
            if follows:
                second, place = _joined(document[middle:stop]), stop
            else:
                second, place = _from_another(documents, index, length - len(first), random), middle
            yield SentencePair(*_shortened(first, second, length), follows)


def _gather(document: Sequence[Sentence], start: int, length: int) -> int:
    """Where sentences from `start` on have reached `length` tokens."""
    total, stop = 0, start
    while stop < len(document) and total < length:
        total += len(document[stop])
        stop += 1
    return stop


def _from_another(
    documents: Sequence[Sequence[Sentence]], index: int, room: int, random: Generator
) -> list[int]:
    other = int(random.integers(len(documents) - 1))
    document = documents[other + (other >= index)]
    start = int(random.integers(len(document)))
    return _joined(document[start : max(start + 1, _gather(document, start, room))])


def _joined(sentences: Sequence[Sentence]) -> list[int]:
    return [id for sentence in sentences for id in sentence]


def _shortened(first: list[int], second: list[int], length: int) -> tuple[list[int], list[int]]:
    """Longest first: tokens go from the end of whichever is longer, of the second when equal."""
    while len(first) + len(second) > length:
        (first if len(first) > len(second) else second).pop()
    return first, second

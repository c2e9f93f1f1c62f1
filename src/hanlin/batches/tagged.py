"""Labels of stretches of characters as labels of tokens: words with tags, or spans that are named.

T tokens of a text, K labels.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.batches.batch import IGNORE, Batch
from hanlin.batches.bio import first_invalid, is_bio
from hanlin.batches.labels import Places, check_classes
from hanlin.batches.loader import RowSeed
from hanlin.batches.ragged import Layout, check_not_empty, lay_batch, name_record
from hanlin.batches.token_rows import TokenRows
from hanlin.batches.windows import Window
from hanlin.corpus.units import count_unspaced
from hanlin.tokenizer.tokenizer import Tokenizer

CharacterSpan = tuple[int, int]
"""First character, last character + 1."""


@dataclass(frozen=True)
class Tagged:
    """A text, and the tags of stretches of it, in order and apart from each other.

    With `whole` every stretch is a word of which `tags` says the tag; else the stretches are spans of which `tags` says
    the kind, and all else is outside (O).
    """

    text: str
    stretches: tuple[CharacterSpan, ...]
    tags: tuple[str, ...]
    whole: bool

    @classmethod
    def of_words(cls, words: Sequence[str], tags: Sequence[str]) -> "Tagged":
        """Words with a tag each; a space stands between two, but not beside scripts that are written without."""
        assert len(words) == len(tags)
        text, stretches = "", list[CharacterSpan]()
        for word in words:
            if text and not count_unspaced(text[-1] + word[:1]):
                text += " "
            stretches.append((len(text), len(text) + len(word)))
            text += word
        return cls(text, tuple(stretches), tuple(tags), True)

    @classmethod
    def of_spans(cls, text: str, spans: Sequence[tuple[int, int, str]]) -> "Tagged":
        """A text with named spans of its characters."""
        ordered = sorted(spans)
        stretches = tuple((start, stop) for start, stop, _ in ordered)
        return cls(text, stretches, tuple(kind for _, _, kind in ordered), False)

    def tokens(self, tokenizer: Tokenizer) -> tuple[list[int], list[CharacterSpan]]:
        """The ids of the text, and where each token is, white space before it left out.

        Where the vocabulary joins several words in one token, the text is cut there, so that every word has its own.
        """
        borders = sorted({border for stretch in self.stretches for border in stretch}) if self.whole else []
        cuts = {0, len(self.text)}
        while True:
            ids, offsets = _encoded(self.text, sorted(cuts), tokenizer)
            inside = {
                border
                for start, stop in offsets
                for border in borders[bisect_right(borders, start) :][:1]
                if border < stop
            }
            if not inside:
                return ids, offsets
            cuts |= inside


class TaggedTexts(TokenRows):
    """Tagged texts as rows with a label for each token; special tokens and untagged ones have the target `IGNORE`.

    names: what the labels 0, 1, ... are called. subwords: of a word of several tokens, whether the first alone is
    labelled (arXiv 1810.04805, section 5.3) or all are, B-X being followed by I-X. Of spans all tokens are labelled. A
    token is where its first character is that is no white space.
    nested: spans may overlap; there is no O, and each of the K labels is 1 or 0 at each token: targets (B, T, K).
    overlap: as for `TokenRows`; each label counts in one window, and no window has a part of a span only.
    Raises `DataError` naming the record: for a tag without label, for stretches that overlap or lie outside the text,
    and for words whose BIO tags go on with a span that has not begun; and where all tokens have one label.
    """

    def __init__(
        self,
        records: Sequence[Tagged],
        names: Sequence[str],
        tokenizer: Tokenizer,
        max_length: int | None = None,
        *,
        subwords: str = "first",
        nested: bool = False,
        overlap: int | None = None,
        layout: Layout = "packed",
        places: Places = None,
    ) -> None:
        assert subwords in ("first", "all")
        self._numbers = {name: number for number, name in enumerate(names)}
        self._every, self._nested = subwords == "all", nested
        self._goes_on = np.array([name[:1] in ("I", "E") and is_bio(names) for name in names])
        self.unaligned = 0
        """Stretches with a border within a token, so that no labels of tokens can tell them exactly."""
        labels, texts = list[npt.NDArray[Any]](), list[list[int]]()
        for number, record in enumerate(records):
            self._check(record, name_record(number, places))
            ids, offsets = record.tokens(tokenizer)
            texts.append(ids)
            labels.append(self._labels(record, offsets))
        super().__init__(texts, tokenizer, max_length, overlap=overlap, layout=layout)
        check_not_empty(texts, places)
        self._targets = [
            self.laid_out(row, self._shown(labels[text], window), IGNORE)
            for row, (text, window) in enumerate(self.rows)
        ]
        check_classes({int(label) for targets in self._targets for label in np.unique(targets)} - {IGNORE},
                      len(records))  # fmt: skip

    def batch(self, rows: npt.NDArray[np.int64], seeds: Sequence[RowSeed]) -> Batch:
        """The given rows; nothing about them is drawn."""
        texts, targets = [self._ids[row] for row in rows], [self._targets[row] for row in rows]
        return lay_batch(texts, targets, self._layout, self._pad_id)

    def _shown(self, labels_T: npt.NDArray[Any], window: Window) -> npt.NDArray[Any]:
        """The labels of what a window sees, `IGNORE` for those that another one has."""
        shown = np.full_like(labels_T[window.start : window.stop], IGNORE)
        first, last = (window.first, window.last) if self._nested else self._whole_spans(labels_T, window)
        shown[first - window.start : last - window.start] = labels_T[first:last]
        return shown

    def _whole_spans(self, labels_T: npt.NDArray[Any], window: Window) -> tuple[int, int]:
        """What a window has, with the end of a span that begins in it, if it sees that, else without the span."""
        goes_on = [False] * (len(labels_T) + 1)
        for place in range(len(labels_T) - 1, -1, -1):
            label = labels_T[place]
            goes_on[place] = goes_on[place + 1] if label == IGNORE else bool(self._goes_on[label])
        first, last = window.first, window.last
        while first < last and goes_on[first]:
            first += 1
        while last < window.stop and goes_on[last]:
            last += 1
        while last > first and goes_on[last]:
            last -= 1
        return first, last

    def _labels(self, record: Tagged, offsets: Sequence[CharacterSpan]) -> npt.NDArray[Any]:
        """(T,) int32; nested (T, K) int8."""
        starts, stops = {start for start, _ in offsets}, {stop for _, stop in offsets}
        self.unaligned += sum(start not in starts or stop not in stops for start, stop in record.stretches)
        return self._nested_labels(record, offsets) if self._nested else self._flat_labels(record, offsets)

    def _flat_labels(self, record: Tagged, offsets: Sequence[CharacterSpan]) -> npt.NDArray[np.int32]:
        owners = owners_of(record.stretches, offsets)
        labels, seen = np.full(len(owners), IGNORE, np.int32), set[int]()
        for place, owner in enumerate(owners):
            if owner is None:
                if not record.whole:
                    labels[place] = self._numbers["O"]
            elif owner not in seen:
                labels[place] = self._numbers[
                    record.tags[owner] if record.whole else f"B-{record.tags[owner]}"
                ]
                seen.add(owner)
            elif self._every or not record.whole:
                labels[place] = self._numbers[_inside(record.tags[owner], record.whole)]
        return labels

    def _nested_labels(self, record: Tagged, offsets: Sequence[CharacterSpan]) -> npt.NDArray[np.int8]:
        labels = np.zeros((len(offsets), len(self._numbers)), np.int8)
        begins = [start for start, _ in offsets]
        for (start, stop), kind in zip(record.stretches, record.tags, strict=True):
            inside = range(bisect_right(begins, start - 1), bisect_right(begins, stop - 1))
            for place, letter in zip(inside, "B" + "I" * len(inside), strict=False):
                labels[place, self._numbers[f"{letter}-{kind}"]] = 1
        return labels

    def _check(self, record: Tagged, name: str) -> None:
        borders = [border for stretch in record.stretches for border in stretch]
        apart = borders == sorted(borders) or self._nested
        if not apart or (borders and not 0 <= min(borders) <= max(borders) <= len(record.text)):
            raise _refused(name, "has spans that overlap or lie outside the text", "的片段相互重叠或超出文本")
        needed = record.tags if record.whole else [f"{p}-{tag}" for tag in record.tags for p in "BI"]
        needed = [*needed, *([] if record.whole or self._nested else ["O"])]
        for tag in dict.fromkeys([*needed, *(_inside(tag, True) for tag in record.tags if record.whole)]):
            if tag not in self._numbers:
                raise _refused(name, f"has the tag {tag}, which is no label", f"的标注 {tag} 不在标签之中")
        if record.whole and is_bio(list(self._numbers)) and (place := first_invalid(record.tags)) is not None:
            raise _refused(
                name,
                f"has the tag {record.tags[place]} at word {place + 1} where no such span has begun",
                f"的第 {place + 1} 个词标为 {record.tags[place]}，但此前没有开始这样的片段",
            )


def owners_of(stretches: Sequence[CharacterSpan], offsets: Sequence[CharacterSpan]) -> list[int | None]:
    """The stretch that each token begins in, of stretches in order and apart."""
    starts = [start for start, _ in stretches]
    owners: list[int | None] = []
    for start, stop in offsets:
        index = bisect_right(starts, start) - 1
        owners.append(index if index >= 0 and start < min(stop, stretches[index][1]) else None)
    return owners


def _encoded(text: str, cuts: Sequence[int], tokenizer: Tokenizer) -> tuple[list[int], list[CharacterSpan]]:
    """The ids of the pieces between cuts, and where each token is in the text."""
    ids, offsets = list[int](), list[CharacterSpan]()
    for begin, end in pairwise(cuts):
        more, places = tokenizer.encode_spans(text[begin:end])
        ids += more
        offsets += [_without_space(text, begin + start, begin + stop) for start, stop in places]
    return ids, offsets


def _without_space(text: str, start: int, stop: int) -> CharacterSpan:
    """Where a token's characters are but for the white space before the first."""
    return start + len(text[start:stop]) - len(text[start:stop].lstrip()), stop


def _inside(tag: str, whole: bool) -> str:
    """The tag of what follows within the same stretch."""
    return f"I-{tag}" if not whole else f"I{tag[1:]}" if tag[:2] in ("B-", "B") else tag


def _refused(name: str, en: str, zh: str) -> DataError:
    return DataError(
        Text(f"Record {name} {en}.", f"记录 {name} {zh}。"),
        Text("Mend the record, or the names of the labels.", "请修改该记录或标签名称。"),
    )

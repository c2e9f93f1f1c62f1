"""Labels of stretches of characters as labels of tokens: words with tags, or spans that are named."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.batches.batch import IGNORE, Batch
from hanlin.batches.bio import first_invalid, is_bio
from hanlin.batches.labels import Places, check_classes
from hanlin.batches.loader import Examples, RowSeed
from hanlin.batches.ragged import Layout, Lengths, check_not_empty, lay_batch, name_record
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


class TaggedTexts(Examples):
    """Tagged texts as rows with a label for each token; special tokens and untagged ones have the target `IGNORE`.

    names: what the labels 0, 1, ... are called. subwords: of a word of several tokens, whether the first alone is
    labelled (arXiv 1810.04805, section 5.3) or all are, B-X being followed by I-X. Of spans all tokens are labelled. A
    token is where its first character is that is no white space.
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
        layout: Layout = "packed",
        places: Places = None,
    ) -> None:
        assert subwords in ("first", "all")
        self._numbers = {name: number for number, name in enumerate(names)}
        self._every, self._layout, self._pad_id = subwords == "all", layout, tokenizer.pad_id
        self.unaligned = 0
        """Stretches with a border within a token, so that no labels of tokens can tell them exactly."""
        self._texts: list[npt.NDArray[np.int32]] = []
        self._targets: list[npt.NDArray[np.int32]] = []
        cut, own_ids = list[int](), list[list[int]]()
        for number, record in enumerate(records):
            self._check(record, name_record(number, places))
            ids, offsets = tokenizer.encode_spans(record.text)
            encoding = tokenizer.framed([ids], max_length)
            targets = np.full(len(encoding.ids), IGNORE, np.int32)
            inner = np.array(encoding.special_mask) == 0
            kept = [id for id, own in zip(encoding.ids, inner, strict=True) if own]
            own_ids.append(kept)
            first = 0 if kept == ids[: len(kept)] else encoding.cut  # truncation may be on either side
            targets[inner] = self._labels(record, offsets)[first : first + len(kept)]
            self._texts.append(np.array(encoding.ids, np.int32))
            self._targets.append(targets)
            cut.append(encoding.cut)
        check_not_empty(own_ids, places)
        check_classes(set(np.concatenate(self._targets).tolist()) - {IGNORE}, len(records))
        self.lengths = Lengths.of(self._texts, cut)

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Tokens of each record: what length buckets are made by."""
        return np.array([len(text) for text in self._texts], np.int64)

    def batch(self, rows: npt.NDArray[np.int64], seeds: Sequence[RowSeed]) -> Batch:
        """The given records; nothing about them is drawn."""
        texts, targets = [self._texts[row] for row in rows], [self._targets[row] for row in rows]
        return lay_batch(texts, targets, self._layout, self._pad_id)

    def _labels(self, record: Tagged, offsets: Sequence[CharacterSpan]) -> npt.NDArray[np.int32]:
        offsets = [_without_space(record.text, *span) for span in offsets]
        starts, stops = {start for start, _ in offsets}, {stop for _, stop in offsets}
        self.unaligned += sum(start not in starts or stop not in stops for start, stop in record.stretches)
        owners = _owners(record, offsets)
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

    def _check(self, record: Tagged, name: str) -> None:
        borders = [border for stretch in record.stretches for border in stretch]
        if borders != sorted(borders) or (borders and not 0 <= borders[0] <= borders[-1] <= len(record.text)):
            raise _refused(name, "has spans that overlap or lie outside the text", "的片段相互重叠或超出文本")
        needed = record.tags if record.whole else [f"{p}-{tag}" for tag in record.tags for p in "BI"] + ["O"]
        for tag in dict.fromkeys([*needed, *(_inside(tag, True) for tag in record.tags if record.whole)]):
            if tag not in self._numbers:
                raise _refused(name, f"has the tag {tag}, which is no label", f"的标注 {tag} 不在标签之中")
        if record.whole and is_bio(list(self._numbers)) and (place := first_invalid(record.tags)) is not None:
            raise _refused(
                name,
                f"has the tag {record.tags[place]} at word {place + 1} where no such span has begun",
                f"的第 {place + 1} 个词标为 {record.tags[place]}，但此前没有开始这样的片段",
            )


def _owners(record: Tagged, offsets: Sequence[CharacterSpan]) -> list[int | None]:
    """The stretch that each token begins in."""
    starts = [start for start, _ in record.stretches]
    owners: list[int | None] = []
    for start, stop in offsets:
        index = bisect_right(starts, start) - 1
        owners.append(index if index >= 0 and start < min(stop, record.stretches[index][1]) else None)
    return owners


def _without_space(text: str, start: int, stop: int) -> CharacterSpan:
    """Where a token's characters are but for the white space before the first."""
    return start + len(text[start:stop]) - len(text[start:stop].lstrip()), stop


def _inside(tag: str, whole: bool) -> str:
    """The tag of what follows within the same stretch."""
    return f"I-{tag}" if not whole else f"I-{tag[2:]}" if tag[:2] == "B-" else tag


def _refused(name: str, en: str, zh: str) -> DataError:
    return DataError(
        Text(f"Record {name} {en}.", f"记录 {name} {zh}。"),
        Text("Mend the record, or the names of the labels.", "请修改该记录或标签名称。"),
    )

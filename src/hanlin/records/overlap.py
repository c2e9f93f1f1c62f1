"""What stands twice: copies and near copies within and across the sides, and equal inputs with different answers.

A figure on test records that also stand in training says how well they are remembered; see e.g. arXiv 2107.06499 (copies in
corpora) and arXiv 2008.02637 (test answers that stand in training).
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hanlin.base.errors import MissingExtra
from hanlin.base.language import Text
from hanlin.base.records import Extracted, Labelled, Question, Scored, TaggedWords, TaskRecord
from hanlin.corpus.config import DeduplicateConfig
from hanlin.corpus.duplicates import NearCopies, jaccard, shingles
from hanlin.records.loaded import Loaded
from hanlin.records.sides import plain_text

NEAR = DeduplicateConfig(exact="keep", near="keep", threshold=0.7, shingle=3)
"""Near copies are alike in 7 of 10 sequences of three words or characters: one word of twenty may differ."""

_KINDS = {
    "copies": Text("the same input", "输入相同"),
    "swapped": Text("the same two texts the other way round", "两段文本相同而次序相反"),
    "texts": Text("a text in common", "有一段文本相同"),
    "near copies": Text("nearly the same input", "输入几乎相同"),
}
_JUDGED = (Labelled, Scored, TaggedWords, Extracted, Question)
"""Records of one input that have one answer: two are a contradiction."""
_EXAMPLES = 5
_Entry = tuple[str, int]


@dataclass(frozen=True)
class Twice:
    """Two places with the same or nearly the same text; `answers`: if these contradict."""

    first: str
    second: str
    text: str
    answers: tuple[str, str] | None = None


@dataclass(frozen=True)
class Overlap:
    """Of `of` records on side `second`, `count` are found on side `first` too (of one side: before, on the same)."""

    kind: str
    first: str
    second: str
    count: int
    of: int
    examples: tuple[Twice, ...]

    @property
    def text(self) -> Text:
        """For people to read."""
        kind = _KINDS[self.kind]
        share = f"{self.count:,} of {self.of:,} ({self.count / self.of:.1%})"
        share_zh = f"{self.of:,} 条中有 {self.count:,} 条（{self.count / self.of:.1%}）"
        if self.first == self.second:
            return Text(
                f"{self.first}: {share} repeat one before ({kind.en}).",
                f"{self.first}：{share_zh}与前面的重复（{kind.zh}）。",
            )
        return Text(
            f"{self.second}: {share} also stand in {self.first} ({kind.en}).",
            f"{self.second}：{share_zh}也在 {self.first} 中（{kind.zh}）。",
        )


@dataclass(frozen=True)
class Overlaps:
    """found: every overlap that there is. contradictions: inputs with more than one answer, and a few of them.

    notes: what was not looked for, and why.
    """

    found: tuple[Overlap, ...]
    contradictions: int = 0
    contradicting: tuple[Twice, ...] = ()
    notes: tuple[Text, ...] = ()

    @property
    def leaks(self) -> tuple[Overlap, ...]:
        """Those across two sides."""
        return tuple(one for one in self.found if one.first != one.second)

    def texts(self) -> list[Text]:
        """For people to read, with an example of each."""
        said = []
        for one in self.found:
            shown = f" {one.examples[0].first} ~ {one.examples[0].second}"
            said.append(Text(one.text.en + shown, one.text.zh + shown))
        if self.contradictions:
            first = self.contradicting[0]
            assert first.answers is not None
            places = f"{first.first}: {first.answers[0]:.40} ~ {first.second}: {first.answers[1]:.40}"
            said.append(
                Text(
                    f"{self.contradictions:,} inputs have different answers; {places}",
                    f"{self.contradictions:,} 个输入有不同的答案；{places}",
                )
            )
        return [*said, *self.notes]


@dataclass
class _Tally:
    """Counts and examples by kind and sides."""

    places: Mapping[str, Loaded]  # type: ignore[type-arg]
    counts: dict[tuple[str, str, str], set[int]] = field(default_factory=lambda: defaultdict(set))
    examples: dict[tuple[str, str, str], list[Twice]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, first: _Entry, second: _Entry, text: str) -> None:
        key = (kind, first[0], second[0])
        if second[1] not in self.counts[key]:
            self.counts[key].add(second[1])
            if len(self.examples[key]) < _EXAMPLES:
                self.examples[key].append(Twice(self.place(first), self.place(second), text[:200]))

    def rank(self, entry: _Entry) -> tuple[int, int]:
        """What orders records: their side, and their number on it."""
        return list(self.places).index(entry[0]), entry[1]

    def place(self, entry: _Entry) -> str:
        return self.places[entry[0]].places[entry[1]]


def find_overlaps(sides: Mapping[str, Loaded], near: bool = True) -> Overlaps:  # type: ignore[type-arg]
    """All overlaps of records, the sides in the order in which they are given, compared as `plain_text`.

    near: whether near copies are looked for too (extra `data`; a note says where it is not installed).
    """
    tally = _Tally(sides)
    entries = [(name, number) for name, loaded in sides.items() for number in range(len(loaded))]
    groups: dict[str, list[_Entry]] = defaultdict(list)
    for name, number in entries:
        groups["\x1f".join(_texts(sides[name].records[number]))].append((name, number))
    for key, group in groups.items():
        _add_group(tally, "copies", group, key)
    _add_swapped(tally, groups)
    _add_shared_texts(tally, sides)
    notes = _add_near(tally, groups) if near else ()
    contradicting = list(_contradictions(sides, groups))
    order = {name: place for place, name in enumerate(sides)}
    kinds = list(_KINDS)
    found = sorted(
        tally.counts,
        key=lambda key: (order[key[1]] == order[key[2]], kinds.index(key[0]), order[key[1]], order[key[2]]),
    )
    return Overlaps(
        tuple(
            Overlap(*key, len(tally.counts[key]), len(sides[key[2]]), tuple(tally.examples[key]))
            for key in found
        ),
        len(contradicting),
        tuple(contradicting[:_EXAMPLES]),
        notes,
    )


def _texts(record: TaskRecord) -> list[str]:
    """What the record gives, as `plain_text`; the choices of a question are a text of their own."""
    choices = sorted(map(plain_text, record.choices)) if isinstance(record, Question) else []
    return [*map(plain_text, record.inputs), *([" | ".join(choices)] if choices else [])]


def _is_marked(record: TaskRecord) -> bool:
    """Whether two spans are given and their relation asked for, so that one text has many answers."""
    return isinstance(record, Extracted) and {span.kind for span in record.spans or ()} == {"e1", "e2"}


def _add_group(tally: _Tally, kind: str, group: list[_Entry], text: str) -> None:
    """Entries of equal text: each of a later side with the first of each earlier one, each of a side with its first."""
    firsts: dict[str, _Entry] = {}
    for entry in group:
        for side, first in firsts.items():
            tally.add(kind, first, entry, text) if side != entry[0] or kind != "texts" else None
        firsts.setdefault(entry[0], entry)


def _add_swapped(tally: _Tally, groups: Mapping[str, list[_Entry]]) -> None:
    for key, group in groups.items():
        texts = key.split("\x1f")
        if len(texts) == 2 and texts[0] < texts[1] and (other := groups.get(f"{texts[1]}\x1f{texts[0]}")):
            for one in group:
                first, second = sorted((one, other[0]), key=tally.rank)
                tally.add("swapped", first, second, key)


def _add_shared_texts(tally: _Tally, sides: Mapping[str, Loaded]) -> None:  # type: ignore[type-arg]
    """Across sides, of records with several texts: the context or premise of one may tell the answer of another."""
    groups: dict[str, list[_Entry]] = defaultdict(list)
    for name, loaded in sides.items():
        for number, record in enumerate(loaded.records):
            if len(texts := _texts(record)) > 1:
                for text in set(texts):
                    groups[text].append((name, number))
    for text, group in groups.items():
        _add_group(tally, "texts", group, text)


def _add_near(tally: _Tally, groups: Mapping[str, list[_Entry]]) -> tuple[Text, ...]:
    keys = list(groups)
    try:
        copies = NearCopies(NEAR, lambda number: keys[number])
    except MissingExtra as missing:
        return (
            Text(
                f"Near copies were not looked for. {missing.problem.en} {missing.remedy.en}",
                f"没有查找近似重复。{missing.problem.zh}{missing.remedy.zh}",
            ),
        )
    for number, key in enumerate(keys):
        alike = [at for at in copies.find_and_add(key, number, keep_copies=True) if _all_near(key, keys[at])]
        for one, other in itertools.product(groups[key], (one for at in alike for one in groups[keys[at]])):
            first, second = sorted((one, other), key=tally.rank)
            tally.add("near copies", first, second, key)
    return ()


def _all_near(one: str, other: str) -> bool:
    """Whether each text is near its counterpart: two questions about one long context are no copies."""
    pairs = list(zip(one.split("\x1f"), other.split("\x1f"), strict=False))
    return len(pairs) == 1 or all(
        jaccard(shingles(first, NEAR.shingle), shingles(second, NEAR.shingle)) >= NEAR.threshold
        for first, second in pairs
    )


def _contradictions(sides: Mapping[str, Loaded], groups: Mapping[str, list[_Entry]]) -> Iterable[Twice]:  # type: ignore[type-arg]
    """Of each input with different answers, the first two places that differ."""
    for key, group in groups.items():
        seen: dict[str, _Entry] = {}
        for entry in group if len(group) > 1 else ():
            record: TaskRecord = sides[entry[0]].records[entry[1]]
            if isinstance(record, _JUDGED) and record.answer is not None and not _is_marked(record):
                seen.setdefault(plain_text(record.answer), entry)
        if len(seen) > 1:
            first, second = list(seen.values())[:2]
            answers = [str(sides[side].records[number].answer) for side, number in (first, second)]
            yield Twice(
                sides[first[0]].places[first[1]],
                sides[second[0]].places[second[1]],
                key[:200],
                (answers[0], answers[1]),
            )

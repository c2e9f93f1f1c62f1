"""Relations between spans that are given: each pair is marked in its text, and the text is classified.

The first span of a pair stands between @ and @, the second one between # and #, with their kinds: marks that every vocabulary
has. Sources: entity markers, Baldini Soares et al. 2019 (arXiv 1906.03158, section 3.2); typed and in punctuation, Zhou & Chen
2021 (arXiv 2102.01373, section 3.1).

N records, P pairs.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar, Literal, Self

from pydantic import Field

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.base.records import Extracted, Labelled, Span
from hanlin.batches.labels import Places
from hanlin.batches.loader import Examples
from hanlin.evaluate.found import macro_f1_of_kinds
from hanlin.evaluate.measure import Floats, Measure
from hanlin.objective.term import Objective
from hanlin.tasks.classify import Classify
from hanlin.tasks.found import Found, FoundRelation, said_as_answer, set_wrongness, triple_figures, triples
from hanlin.tasks.opened import Opened
from hanlin.tasks.task import Method, Task
from hanlin.tasks.token_tags import not_known

NONE = "-"
"""The class of pairs between which nothing holds."""

FORWARD, BACKWARD = "(1,2)", "(2,1)"
"""Ends of classes: the subject is the first or the second span of the pair, in the order of the text."""

_AROUND = 200
"""Characters of a long text that stay before and after a pair."""


@dataclass(frozen=True)
class _Pair:
    """Two spans of record `number`, in the order of the text."""

    number: int
    first: Span
    second: Span


class Relate(Task[Extracted, Found]):
    """What holds between each two of the spans of a text, if anything; the spans are given."""

    kind: Literal["relate"] = "relate"
    labels: tuple[str, ...] = Field((), strict=False)
    """Relations with their direction, `Cause-Effect(2,1)`, and `-` for none; default: those of the training records."""
    pairs: tuple[tuple[str, str], ...] = Field((), strict=False)
    """Kinds of spans, in the order of the text, between which a relation is looked for; default: those that have one in the
    training records."""
    several: bool | None = None
    """Whether several relations can hold between two spans; default: if they do in the training records."""

    record: ClassVar[type[Extracted]] = Extracted
    prediction: ClassVar[type[Found]] = Found
    methods: ClassVar[tuple[Method, ...]] = ("full", "lora")
    chosen_by: ClassVar[tuple[str, Literal["lower", "higher"]]] = ("valid_accuracy", "higher")

    def begun(self, records: Sequence[Extracted], places: Places = None) -> Self:
        for number, record in enumerate(records):
            if record.relations is None:
                raise not_known(number, places, "has no relations", "没有关系")
        related = [
            (pair, classes)
            for number, record in enumerate(records)
            for pair in _pairs_of(number, record)
            if (classes := _classes(record, pair))
        ]
        kinds = self.pairs or tuple(sorted({(pair.first.kind, pair.second.kind) for pair, _ in related}))
        if not related:
            raise _no_relation(len(records))
        begun = self.model_copy(update={"pairs": kinds})
        found = {name for _, classes in related for name in classes}
        several = any(len(classes) > 1 for _, classes in related) if self.several is None else self.several
        if not several and any(not _classes(records[pair.number], pair) for pair in begun._pairs(records)):
            found.add(NONE)
        return begun.model_copy(update={"labels": self.labels or tuple(sorted(found)), "several": several})

    def head(self) -> dict[str, Any]:
        return self._classify.head()

    def examples(self, opened: Opened, records: Sequence[Extracted], places: Places = None) -> Examples:
        pairs, marked = self._pairs(records), self._marked(records)
        named = None if places is None else [places[pair.number] for pair in pairs]
        return self._classify.examples(opened, marked, named)

    def objective(self, records: Sequence[Extracted]) -> Objective:
        return self._classify.objective(self._marked(records))

    def predict(self, opened: Opened, records: Sequence[Extracted], title: str = "") -> list[Found]:
        pairs = self._pairs(records)
        marked = [one.model_copy(update={"labels": None}) for one in self._marked(records)]
        classified = self._classify.predict(opened, marked, title) if pairs else []
        found: defaultdict[int, list[FoundRelation]] = defaultdict(list)
        for pair, said in zip(pairs, classified, strict=True):
            text = records[pair.number].text
            for name in said.labels:
                if name != NONE:
                    found[pair.number].append(_relation(text, pair, name, said.probabilities[name]))
        return [Found(relations=tuple(found[number])) for number in range(len(records))]

    def measures(self, records: Sequence[Extracted], predictions: Sequence[Found]) -> tuple[Measure, ...]:
        truth, said = ([triples(one) for one in side] for side in (records, predictions))
        by_relation = macro_f1_of_kinds(truth, said, lambda triple: triple[1])
        return (*triple_figures(records, predictions), by_relation)

    def wrongness(self, records: Sequence[Extracted], predictions: Sequence[Found]) -> Floats:
        return set_wrongness([triples(one) for one in records], [triples(one) for one in predictions])

    def said(self, prediction: Found) -> str:
        return said_as_answer(prediction)

    @property
    def _classify(self) -> Classify:
        """The task of the marked texts."""
        return Classify(
            method=self.method,
            max_tokens=self.max_tokens,
            labels=self.labels,
            multi_label=bool(self.several),
        )

    def _pairs(self, records: Sequence[Extracted]) -> list[_Pair]:
        return [
            pair
            for number, record in enumerate(records)
            for pair in _pairs_of(number, record)
            if (pair.first.kind, pair.second.kind) in self.pairs
        ]

    def _marked(self, records: Sequence[Extracted]) -> list[Labelled]:
        """The text of each pair, with its classes, where they are known."""
        found = list[Labelled]()
        for pair in self._pairs(records):
            record = records[pair.number]
            classes = [name for name in _classes(record, pair) if name in self.labels]
            none = () if self.several else (NONE,)
            found.append(
                Labelled(
                    text=mark(record.text, pair.first, pair.second),
                    labels=tuple(classes if self.several else classes[:1]) or none,
                )
            )
        return found


def mark(text: str, first: Span, second: Span) -> str:
    """The text with both spans marked, and what is far from them left out."""
    between = text[first.stop : second.start]
    before, after = text[max(0, first.start - _AROUND) : first.start], text[second.stop :][:_AROUND]
    one, other = text[first.start : first.stop], text[second.start : second.stop]
    return f"{before}@{_named('*', first.kind)} {one} @{between}#{_named('^', second.kind)} {other} #{after}"


def with_spans(records: Sequence[Extracted], found: Sequence[Found]) -> list[Extracted]:
    """The texts with the spans that a model of `extract` found in them, of which `relate` then tells the relations."""
    return [
        record.model_copy(
            update={"spans": tuple(Span(start=one.start, stop=one.stop, kind=one.kind) for one in said.spans)}
        )
        for record, said in zip(records, found, strict=True)
    ]


def _no_relation(records: int) -> DataError:
    return DataError(
        Text(
            f"The {records} training records have no relation between two of their spans.",
            f"{records} 条训练记录的片段之间没有任何关系。",
        ),
        Text(
            "Give the spans that relations are between, with the same characters.",
            "请给出关系两端的片段，且字符位置一致。",
        ),
    )


def _named(sign: str, kind: str) -> str:
    return f" {sign} {kind} {sign}" if kind else ""


def _pairs_of(number: int, record: Extracted) -> Iterator[_Pair]:
    """All pairs of spans that do not overlap. Where no spans are given, those of the relations are meant."""
    spans = record.spans
    if spans is None:
        sides = [side for one in record.relations or () for side in (one.subject_span, one.object_span)]
        places = sorted({side for side in sides if side is not None})
        spans = tuple(Span(start=start, stop=stop, kind="") for start, stop in places)
    ordered = sorted(spans, key=lambda one: (one.start, one.stop, one.kind))
    return (
        _Pair(number, first, second)
        for first, second in combinations(ordered, 2)
        if first.stop <= second.start
    )


def _classes(record: Extracted, pair: _Pair) -> list[str]:
    """What holds between the two, each relation with its direction, in order of mention."""
    first, second = (pair.first.start, pair.first.stop), (pair.second.start, pair.second.stop)
    directions = {(first, second): FORWARD, (second, first): BACKWARD}
    found = [
        f"{one.relation}{directions[sides]}"
        for one in record.relations or ()
        if (sides := (one.subject_span, one.object_span)) in directions
    ]
    return list(dict.fromkeys(found))


def _relation(text: str, pair: _Pair, name: str, probability: float) -> FoundRelation:
    sides = [(pair.first.start, pair.first.stop), (pair.second.start, pair.second.stop)]
    subject, object_ = sides if name.endswith(FORWARD) else sides[::-1]
    return FoundRelation(
        subject=text[slice(*subject)],
        relation=name.removesuffix(FORWARD).removesuffix(BACKWARD),
        object=text[slice(*object_)],
        subject_span=subject,
        object_span=object_,
        probability=probability,
    )

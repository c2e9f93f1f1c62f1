"""Spans of a text by kind, and relations between them: entities, events as spans `type/role`, triples.

What overlaps is judged kind by kind: each token has any number of the labels B-X and I-X. A relation is then two kinds of
spans, its subjects and its objects, of which every pair is a triple: so one pass over a text gives triples too. Source: the
tagging of subjects and objects by relation, Wei et al. 2020 (arXiv 1909.03227), here without conditioning objects on a
subject.

T tokens, K labels.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal, Self

from pydantic import Field
from torch import Tensor

from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.base.records import Extracted
from hanlin.batches.bio import bio_tags, spans
from hanlin.batches.labels import Places
from hanlin.batches.tagged import CharacterSpan, Tagged, TaggedTexts
from hanlin.evaluate.measure import Floats, Measure
from hanlin.objective.crf import CrfTagging
from hanlin.objective.nested_tagging import NestedTagging
from hanlin.objective.tagging import Tagging
from hanlin.objective.term import Objective
from hanlin.tasks.found import (
    Found,
    FoundRelation,
    FoundSpan,
    said_as_answer,
    set_wrongness,
    span_figures,
    span_set,
    triple_figures,
    triples,
)
from hanlin.tasks.opened import Opened
from hanlin.tasks.task import Method, Task
from hanlin.tasks.token_tags import decoded, not_known, scores_of_tokens

_ROLES = (":subject", ":object")
"""Ends of the kinds of spans that stand for the two sides of a relation."""


_OFTEN = 0.01
"""Share of the records in which spans must overlap for that to be learned."""


class Extract(Task[Extracted, Found]):
    """Spans of characters, and triples; texts that are longer than the model's window are read in windows."""

    kind: Literal["extract"] = "extract"
    kinds: tuple[str, ...] = Field((), strict=False)
    """Kinds of spans; default: those of the training records, sorted. Others are left out, and that is said."""
    relations: tuple[str, ...] = Field((), strict=False)
    """Names of relations; the same."""
    nested: bool | None = None
    """Whether spans may overlap; default: if they do in more than one of a hundred training records, or if there
    are relations."""
    crf: bool = False
    """As of `tag`, where spans do not overlap."""
    overlap: int = Field(64, ge=0)
    """Tokens that neighbouring windows of a long text share, at most half of a window."""

    record: ClassVar[type[Extracted]] = Extracted
    prediction: ClassVar[type[Found]] = Found
    methods: ClassVar[tuple[Method, ...]] = ("full", "lora")
    chosen_by: ClassVar[tuple[str, Literal["lower", "higher"]]] = ("valid_f1", "higher")

    def begun(self, records: Sequence[Extracted], places: Places = None) -> Self:
        for number, record in enumerate(records):
            if record.spans is None and record.relations is None:
                raise not_known(number, places, "has neither spans nor relations", "既无片段也无关系")
        given = bool(self.kinds or self.relations)
        kinds = self.kinds if given else _names(one.kind for record in records for one in record.spans or ())
        relations = (
            self.relations
            if given
            else _names(one.relation for record in records for one in record.relations or ())
        )
        nested = self.nested
        if nested is None:
            overlapping = sum(_overlap(record, kinds) for record in records)
            nested = bool(relations) or overlapping > _OFTEN * len(records)
        return self.model_copy(update={"kinds": kinds, "relations": relations, "nested": nested})

    @property
    def labels(self) -> tuple[str, ...]:
        """What the head's labels are called."""
        kinds = [*self.kinds, *(f"{name}{role}" for name in self.relations for role in _ROLES)]
        return bio_tags(kinds)[1:] if self.nested else bio_tags(kinds)

    def head(self) -> dict[str, Any]:
        return {"head": "tag", "label_names": self.labels, "crf": self.crf and not self.nested}

    def examples(self, opened: Opened, records: Sequence[Extracted], places: Places = None) -> TaggedTexts:
        self._tell_left_out(records)
        return TaggedTexts(
            [Tagged.of_spans(record.text, self._learned(record)) for record in records],
            self.labels,
            opened.tokenizer,
            opened.window(self.max_tokens),
            nested=bool(self.nested),
            overlap=self.overlap,
            places=places,
        )

    def objective(self, records: Sequence[Extracted]) -> Objective:
        if self.nested:
            return NestedTagging()
        return CrfTagging() if self.crf else Tagging()

    def predict(self, opened: Opened, records: Sequence[Extracted], title: str = "") -> list[Found]:
        tokens = [Tagged.of_spans(record.text, ()).tokens(opened.tokenizer) for record in records]
        scores = scores_of_tokens(opened, [ids for ids, _ in tokens], self.max_tokens, self.overlap, title)
        offsets = [places for _, places in tokens]
        if self.nested:
            found = [self._nested_spans(one) for one in scores]
        else:
            found = [self._flat_spans(*one) for one in decoded(opened, scores, valid_only=True)]
        return [self._found(*one) for one in zip(records, offsets, found, strict=True)]

    def measures(self, records: Sequence[Extracted], predictions: Sequence[Found]) -> tuple[Measure, ...]:
        measures = list[Measure]()
        if self.kinds:
            measures += span_figures(
                [span_set(one) for one in records], [span_set(one) for one in predictions]
            )
        if self.relations:
            measures += triple_figures(records, predictions)
        return tuple(measures)

    def wrongness(self, records: Sequence[Extracted], predictions: Sequence[Found]) -> Floats:
        truth, said = ([span_set(one) | triples(one) for one in side] for side in (records, predictions))
        return set_wrongness(truth, said)

    def said(self, prediction: Found) -> str:
        return said_as_answer(prediction)

    def _learned(self, record: Extracted) -> list[tuple[int, int, str]]:
        """What is learned: spans of known kinds, and both sides of known relations where they stand.

        Where spans do not overlap, the longer one of two that do.
        """
        found = [(one.start, one.stop, one.kind) for one in record.spans or () if one.kind in self.kinds]
        for one in record.relations or ():
            sides = zip((one.subject_span, one.object_span), _ROLES, strict=True)
            if one.relation in self.relations:
                found += [(*span, f"{one.relation}{role}") for span, role in sides if span is not None]
        found = list(dict.fromkeys(found))
        return found if self.nested else _apart(found)

    def _tell_left_out(self, records: Sequence[Extracted]) -> None:
        """Say what of the records is not learned."""
        kinds = {one.kind for record in records for one in record.spans or ()} - set(self.kinds)
        names = {one.relation for record in records for one in record.relations or ()} - set(self.relations)
        lost = 0 if self.nested else sum(_overlap(record, self.kinds) for record in records)
        if kinds | names:
            listed = ", ".join(sorted(kinds | names)[:10])
            _say(
                f"{len(kinds | names)} kinds that are not learned are left out of {len(records)} records: {listed}",
                f"{len(records)} 条记录中有 {len(kinds | names)} 种不在学习之列，已略去：{listed}",
            )
        if lost:
            _say(
                f"{lost} of {len(records)} records have spans that overlap; of these the longest is learned (nested: true learns all).",
                f"{len(records)} 条记录中有 {lost} 条的片段相互重叠，只学习其中最长的（设 nested: true 则全部学习）。",
            )

    def _flat_spans(
        self, numbers: Sequence[int], chances: Sequence[float]
    ) -> list[tuple[str, int, int, float]]:
        """(kind, first token, last token + 1, probability) of each span."""
        tags = [self.labels[number] for number in numbers]
        return [(kind, start, stop, min(chances[start:stop])) for kind, start, stop in spans(tags)]

    def _nested_spans(self, scores_TK: Tensor) -> list[tuple[str, int, int, float]]:
        """The same: each kind begins where its B is above 0, and goes on while its I is and no other begins."""
        found, labels = list[tuple[str, int, int, float]](), self.labels
        said_TK, chances_TK = scores_TK > 0, scores_TK.sigmoid()
        for start, number in said_TK.nonzero().tolist():
            if labels[number][0] == "B":
                stop, chance = start + 1, float(chances_TK[start, number])
                while stop < len(scores_TK) and said_TK[stop, number + 1] and not said_TK[stop, number]:
                    chance = min(chance, float(chances_TK[stop, number + 1]))
                    stop += 1
                found.append((labels[number][2:], start, stop, chance))
        return found

    def _found(
        self,
        record: Extracted,
        offsets: Sequence[CharacterSpan],
        found: Iterable[tuple[str, int, int, float]],
    ) -> Found:
        spans = [
            FoundSpan(start=start, stop=stop, kind=kind, text=record.text[start:stop], probability=chance)
            for kind, first, last, chance in found
            for start, stop in [(offsets[first][0], offsets[last - 1][1])]
        ]
        spans.sort(key=lambda one: (one.start, one.stop, one.kind))
        related = [
            _related(name, subject, object_)
            for name in self.relations
            for subject in spans
            if subject.kind == f"{name}{_ROLES[0]}"
            for object_ in spans
            if object_.kind == f"{name}{_ROLES[1]}"
            and (object_.start, object_.stop) != (subject.start, subject.stop)
        ]
        related.sort(key=lambda one: (one.subject_span, one.object_span))
        kept = tuple(span for span in spans if span.kind in self.kinds)
        return Found(spans=kept, relations=tuple(related))


def _names(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(found)))


def _overlap(record: Extracted, kinds: Sequence[str]) -> bool:
    places = sorted((one.start, one.stop) for one in record.spans or () if one.kind in kinds)
    return any(stop > start for (_, stop), (start, _) in pairwise(places))


def _related(name: str, subject: FoundSpan, object_: FoundSpan) -> FoundRelation:
    return FoundRelation(
        subject=subject.text,
        relation=name,
        object=object_.text,
        subject_span=(subject.start, subject.stop),
        object_span=(object_.start, object_.stop),
        probability=min(subject.probability, object_.probability),
    )


def _apart(found: Sequence[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Of spans that overlap, the longest."""
    kept = list[tuple[int, int, str]]()
    for one in sorted(found, key=lambda span: span[0] - span[1]):
        if all(one[1] <= start or stop <= one[0] for start, stop, _ in kept):
            kept.append(one)
    return sorted(kept)


def _say(en: str, zh: str) -> None:
    console.print(str(Text(en, zh)), markup=False)

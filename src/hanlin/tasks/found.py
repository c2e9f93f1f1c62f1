"""What is found in texts, spans and triples, and how much of it is right."""

from collections.abc import Collection, Hashable, Sequence
from typing import Any, cast

import numpy as np

from hanlin.base.records import Extracted, Record
from hanlin.batches.tagged import CharacterSpan
from hanlin.evaluate.found import found_by_kind, found_measures, macro_f1_of_kinds
from hanlin.evaluate.measure import Floats, Measure

KINDS_SHOWN = 20
"""Of more kinds than this only the mean has a figure."""


class FoundSpan(Record):
    """Words, or characters, `start` to `stop` - 1. probability: that of the least certain of its tags."""

    start: int
    stop: int
    kind: str
    text: str
    probability: float


class FoundRelation(Record):
    """A triple with the characters of both sides. probability: that of the less certain side, or of the relation."""

    subject: str
    relation: str
    object: str
    subject_span: CharacterSpan
    object_span: CharacterSpan
    probability: float


class Found(Record):
    """What a text holds, in the order of its characters."""

    spans: tuple[FoundSpan, ...] = ()
    relations: tuple[FoundRelation, ...] = ()


def span_set(one: Extracted | Found) -> set[Hashable]:
    """(start, stop, kind) of each span."""
    return {(span.start, span.stop, span.kind) for span in one.spans or ()}


def triples(one: Extracted | Found) -> set[Hashable]:
    """(subject, relation, object) of each relation, in words."""
    return {(each.subject, each.relation, each.object) for each in one.relations or ()}


def triple_figures(records: Sequence[Extracted], predictions: Sequence[Found]) -> tuple[Measure, ...]:
    """F1, precision and recall of triples: right if both names and the relation are."""
    return found_measures([triples(one) for one in records], [triples(one) for one in predictions], "triple")


def said_as_answer(found: Found) -> str:
    """What was found, in the form of `Extracted.answer`."""
    spans = [f"{one.kind}: {one.text}" for one in found.spans]
    return "; ".join([*spans, *(f"{one.subject} | {one.relation} | {one.object}" for one in found.relations)])


def span_figures(
    truth: Sequence[Collection[Hashable]], said: Sequence[Collection[Hashable]]
) -> tuple[Measure, ...]:
    """F1, precision and recall of spans, as CoNLL counts them, and F1 of each kind. The last part of a span is its kind."""
    measures: list[Measure] = [*found_measures(truth, said)]
    kinds = {_kind(span) for spans in (*truth, *said) for span in spans}
    if len(kinds) > 1:
        measures.append(macro_f1_of_kinds(truth, said, _kind))
    if 1 < len(kinds) <= KINDS_SHOWN:
        by_kind = found_by_kind(truth, said, _kind)
        measures += [Measure(f"f1_{kind}", of[0].of, of[0].n) for kind, of in by_kind.items()]
    return tuple(measures)


def set_wrongness(truth: Sequence[set[Any]], said: Sequence[set[Any]]) -> Floats:
    """1 - F1 of the set of each record; 0 where there is nothing and nothing was said."""
    return np.array(
        [
            1 - 2 * len(one & other) / (len(one) + len(other)) if one or other else 0.0
            for one, other in zip(truth, said, strict=True)
        ]
    )


def _kind(span: Hashable) -> str:
    return str(cast(tuple[Hashable, ...], span)[-1])

"""Spans and relations written as JSON by a model that writes: what `extract` marks in the text, said in words.

{"spans": [{"kind": "person", "text": "..."}], "relations": [{"subject": "...", "relation": "...", "object": "..."}]}
"""

import json
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from hanlin.base.records import Extracted, Record, Relation, Span
from hanlin.evaluate.found import found_measures
from hanlin.evaluate.measure import Floats, Measure, mean_of
from hanlin.tasks.asked import Language
from hanlin.tasks.found import set_wrongness, span_figures
from hanlin.tasks.task import Method
from hanlin.tasks.writing import Continued, Writing

_PROMPTS: dict[Language, str] = {
    "en": "List what the text names, as JSON.\n\n{text}\n\nJSON:",
    "zh": "以 JSON 列出文中提到的内容。\n\n{text}\n\nJSON：",
}


class Listed(Continued):
    """What was written, and what it says: spans where they stand in the text, and relations.

    malformed: whether it is no JSON of the form that was learned. not_found: spans that do not stand in the text.
    """

    spans: tuple[Span, ...] = ()
    relations: tuple[Relation, ...] = ()
    malformed: bool = False
    not_found: int = 0


class _Item(Record):
    kind: str
    text: str


class _Lists(Record):
    spans: tuple[_Item, ...] = ()
    relations: tuple[Relation, ...] = ()


class ExtractJson(Writing[Extracted]):
    """Extraction by a decoder or an encoder-decoder."""

    kind: Literal["extract-json"] = "extract-json"
    max_new_tokens: int = 256
    """The longest answer."""

    record: ClassVar[type[Extracted]] = Extracted
    prediction: ClassVar[type[Listed]] = Listed
    methods: ClassVar[tuple[Method, ...]] = Writing.methods
    cuttable: ClassVar[str] = "text"

    def fields_of(self, record: Extracted) -> dict[str, str]:
        return {"text": record.text}

    def answers_of(self, record: Extracted) -> tuple[str, ...]:
        known = record.spans is not None or record.relations is not None
        return (as_json(record),) if known else ()

    def default_prompt(self, language: Language | None, record: Extracted) -> str:
        return "{text}" if language is None else _PROMPTS[language]

    def predict(self, opened: Any, records: Sequence[Extracted], title: str = "") -> list[Continued]:
        said = super().predict(opened, records, title)
        return [read_json(self.cased(one.text), written) for one, written in zip(records, said, strict=True)]

    def measures(self, records: Sequence[Extracted], predictions: Sequence[Continued]) -> tuple[Measure, ...]:
        found = list[Measure]()
        if any(one.spans for one in records):
            found += span_figures(self._spans(records), self._said_spans(records, predictions))
        if any(one.relations for one in records):
            found += found_measures(
                [_triples(one.relations) for one in records],
                [_triples(_listed(one).relations) for one in predictions],
                "triple",
            )
        malformed = np.array([_listed(one).malformed for one in predictions], np.float64)
        return (*found, mean_of("malformed", malformed, "lower"))

    def wrongness(self, records: Sequence[Extracted], predictions: Sequence[Continued]) -> Floats:
        truth = [
            one | _triples(each.relations) for one, each in zip(self._spans(records), records, strict=True)
        ]
        said = [
            one | _triples(_listed(each).relations)
            for one, each in zip(self._said_spans(records, predictions), predictions, strict=True)
        ]
        return set_wrongness(truth, said)

    def _spans(self, records: Sequence[Extracted]) -> list[set[Hashable]]:
        return [_items(self.cased(one.text), one.spans) for one in records]

    def _said_spans(
        self, records: Sequence[Extracted], predictions: Sequence[Continued]
    ) -> list[set[Hashable]]:
        pairs = zip(records, predictions, strict=True)
        return [_items(self.cased(one.text), _listed(said).spans) for one, said in pairs]


def as_json(record: Extracted) -> str:
    """What is to be written of a record: its spans in the order of the text, and its relations; what is not known is left out."""
    lists: dict[str, Any] = {}
    if record.spans is not None:
        order = sorted(record.spans, key=lambda span: (span.start, span.stop, span.kind))
        lists["spans"] = [{"kind": one.kind, "text": record.text[one.start : one.stop]} for one in order]
    if record.relations is not None:
        lists["relations"] = [
            {"subject": one.subject, "relation": one.relation, "object": one.object}
            for one in record.relations
        ]
    return json.dumps(lists, ensure_ascii=False)


def read_json(text: str, said: Continued) -> Listed:
    """What was written about `text`, read back. A span is where its words next stand in the text, from the left."""
    values = said.model_dump()
    try:
        lists = _Lists.model_validate_json(said.text)
    except ValueError:
        return Listed(**values, malformed=True)
    spans, after = list[Span](), dict[str, int]()
    for one in lists.spans:
        start = text.find(one.text, after.get(one.text, 0)) if one.text else -1
        if start >= 0:
            after[one.text] = start + len(one.text)
            spans.append(Span(start=start, stop=start + len(one.text), kind=one.kind))
    missing = len(lists.spans) - len(spans)
    return Listed(**values, spans=tuple(spans), relations=lists.relations, not_found=missing)


def _listed(said: Continued) -> Listed:
    assert isinstance(said, Listed)
    return said


def _items(text: str, spans: Iterable[Span] | None) -> set[Hashable]:
    """(words, kind) of each span: a text says not which of several equal words it means."""
    return {(text[one.start : one.stop], one.kind) for one in spans or ()}


def _triples(relations: Iterable[Relation] | None) -> set[Hashable]:
    return {(one.subject, one.relation, one.object) for one in relations or ()}

"""Rows as texts with spans and relations: CLUENER, DuIE, DuEE, SemEval-2010 task 8, lists of entities."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from hanlin.base.language import Text
from hanlin.base.records import Extracted, Relation, Span
from hanlin.records import names
from hanlin.records.columns import Columns
from hanlin.records.loaded import Row
from hanlin.records.marked import marked, missing_list
from hanlin.records.table import Table
from hanlin.records.values import BadRow, is_empty, is_number, label_of, list_of, read_list, text_of

_MOVED = Text("a span stands elsewhere in the text; its place is mended", "片段在文本中的位置有误，已更正")
_ABSENT = Text(
    "a name of a relation does not stand in the text; its place stays unknown",
    "关系中的名称不在文本里，位置留空",
)
_OBJECT_KEYS = ("object", "object_entity", "tail", "o")
_SUBJECT_KEYS = ("subject", "subject_entity", "head", "s")
_KIND_KEYS = ("label", "type", "kind", "entity_type", "entity", "tag", "labels")
_START_KEYS = ("start", "start_position", "start_offset", "start_index", "begin", "offset")
_STOP_KEYS = ("stop", "end", "end_position", "end_offset", "end_index")
_WORD_KEYS = ("word", "value", "entity_value", "text", "span", "mention", "entity", "name")


def extracted(table: Table, columns: Columns, answers: bool) -> Callable[[Row], Extracted | None]:
    """A reader of rows as `Extracted`: spans by `spans`, triples by `relations`, events (DuEE) as spans `type/role`."""
    text = columns.need("text", names.TEXT)
    if any("<e1>" in str(row.values.get(text)) for row in table.rows[:10]):
        return marked(table, columns, answers, text)
    events = columns.find("events", names.EVENTS)
    relations = columns.find("relations", names.RELATIONS)
    spans = columns.find("spans", names.SPANS)
    if answers and events is None and relations is None and spans is None:
        raise columns.missing("spans", (*names.SPANS, *names.RELATIONS, *names.EVENTS))
    inclusive = spans is not None and _ends_are_inclusive(table, text, spans)
    if inclusive:
        table.notes.append(
            Text(
                f"{table.where}: the ends of spans are their last characters.",
                f"{table.where}：片段的终点是其最后一个字。",
            )
        )

    def read(row: Row) -> Extracted | None:
        string = text_of(row.values.get(text), text)
        found = list(_spans(table, row, string, row.values.get(spans), inclusive)) if spans else []
        found += list(_event_spans(table, row, string, row.values.get(events))) if events else []
        triples = tuple(_relations(table, row, string, row.values.get(relations))) if relations else ()
        if answers and spans and row.values.get(spans) is None:
            raise missing_list(spans)
        if answers and relations and row.values.get(relations) is None:
            raise missing_list(relations)
        known = spans is not None or events is not None
        return Extracted(
            text=string,
            spans=tuple(sorted(dict.fromkeys(found), key=lambda one: (one.start, one.stop)))
            if known
            else None,
            relations=triples if relations else None,
        )

    return read


def _spans(table: Table, row: Row, text: str, cell: Any, inclusive: bool) -> Iterator[Span]:
    for kind, start, stop, word in _raw_spans(cell):
        yield _placed(table, row, text, kind, start, None if stop is None else stop + inclusive, word)


def _raw_spans(cell: Any) -> Iterator[tuple[str, int | None, int | None, str | None]]:
    """(kind, start, end as written, words) of CLUENER's {kind: {words: [[start, end]]}}, of lists of objects or triples."""
    if isinstance(cell, dict):
        for kind, mentions in cell.items():
            if not isinstance(mentions, dict):
                raise _unknown_form(cell)
            for word, places in mentions.items():
                for start, stop in places:
                    yield label_of(kind), int(start), int(stop), word
        return
    for item in read_list(cell):
        if isinstance(item, dict):
            start, stop = _first(item, _START_KEYS), _first(item, _STOP_KEYS)
            kind, word = _first(item, _KIND_KEYS), _first(item, _WORD_KEYS)
            kind = kind[0] if isinstance(kind, list) and len(kind) == 1 else kind
            if kind is None or (start is None and word is None):
                raise _unknown_form(item)
            yield label_of(kind), _whole(start), _whole(stop), None if word is None else str(word)
        elif isinstance(item, list | tuple) and len(item) == 3 and is_number(item[0]) and is_number(item[1]):
            yield label_of(item[2]), int(item[0]), int(item[1]), None
        else:
            raise _unknown_form(item)


def _ends_are_inclusive(table: Table, text: str, spans: str) -> bool:
    """Whether the end of a span is its last character, as more of the spans whose words are given say."""
    votes = 0
    for row in table.rows[:1000]:
        try:
            string = text_of(row.values.get(text), text)
            for _, start, stop, word in _raw_spans(row.values.get(spans)):
                if word is not None and start is not None and stop is not None:
                    votes += (string[start : stop + 1] == word) - (string[start:stop] == word)
        except (BadRow, ValueError, TypeError):
            continue
    return votes > 0


def _placed(
    table: Table, row: Row, text: str, kind: str, start: int | None, stop: int | None, word: str | None
) -> Span:
    """The span where its words really stand. Raises `BadRow` if they do not, or stand at several places equally near."""
    if start is not None and (word is None or text[start : start + len(word)] == word):
        stop = start + len(word) if word is not None else stop
        if stop is None or not 0 <= start < stop <= len(text):
            raise BadRow(
                Text(f"the span {start}-{stop} ({kind}) is not within a text of {len(text)} characters", f"片段 {start}-{stop}（{kind}）超出 {len(text)} 字的文本"),
                Text("Mend its start and end, counted in characters from 0.", "请更正其起止位置（从 0 起，按字计）。"),
            )  # fmt: skip
        return Span(start=start, stop=stop, kind=kind)
    assert word is not None
    found = [place.start() for place in re.finditer(f"(?={re.escape(word)})", text)]
    near = sorted(found, key=lambda place: abs(place - (start or 0)))
    ambiguous = len(near) > 1 and (start is None or abs(near[0] - start) == abs(near[1] - start))
    if not word or not near or ambiguous:
        why = (
            Text(" stands at several places", "在文本中出现多次")
            if ambiguous
            else Text(" does not stand in the text", "不在文本中")
        )
        raise BadRow(
            Text(f"the span {word!r:.40} ({kind}){why.en}", f"片段 {word!r:.40}（{kind}）{why.zh}"),
            Text("Mend its words, or say where it starts.", "请更正其文字，或写明起始位置。"),
        )
    if start is not None:
        table.count(_MOVED, row.place)
    return Span(start=near[0], stop=near[0] + len(word), kind=kind)


def _event_spans(table: Table, row: Row, text: str, cell: Any) -> Iterator[Span]:
    """The trigger of each event as a span of its type, and each argument as one of `type/role` (DuEE 1.0)."""
    for event in read_list(cell):
        kind = label_of(event.get("event_type", event.get("type", "")))
        if not is_empty(event.get("trigger")):
            yield _placed(
                table, row, text, kind, _whole(event.get("trigger_start_index")), None, event["trigger"]
            )
        for one in list_of(event.get("arguments")):
            start = _whole(one.get("argument_start_index"))
            yield _placed(
                table, row, text, f"{kind}/{label_of(one.get('role', ''))}", start, None, one.get("argument")
            )


def _relations(table: Table, row: Row, text: str, cell: Any) -> Iterator[Relation]:
    """Triples of DuIE 2.0 (an object may have several parts: `@value` is the main one), or of lists of three."""
    for item in read_list(cell):
        if isinstance(item, list | tuple) and len(item) == 3:
            subject, relation, said = item
        elif isinstance(item, dict):
            subject, said = _first(item, _SUBJECT_KEYS), _first(item, _OBJECT_KEYS)
            relation = _first(item, ("predicate", "relation", "label", "type", "p"))
        else:
            raise _unknown_form(item)
        parts = (
            {key: value for key, value in said.items() if not is_empty(value)}
            if isinstance(said, dict)
            else {"@value": said}
        )
        for key, value in parts.items():
            name = label_of(relation) if key == "@value" else f"{label_of(relation)}/{key}"
            head, tail = text_of(subject, "subject").strip(), text_of(value, "object").strip()
            spans = [
                _known_span(item, "subject_span", text, head),
                _known_span(item, "object_span", text, tail),
            ]
            if None in spans:
                table.count(_ABSENT, row.place)
            yield Relation(
                subject=head, relation=name, object=tail, subject_span=spans[0], object_span=spans[1]
            )


def _known_span(item: Any, key: str, text: str, name: str) -> tuple[int, int] | None:
    """The place that the row gives if the name stands there, else the first where it does."""
    said = item.get(key) if isinstance(item, dict) else None
    if isinstance(said, list) and len(said) == 2 and text[said[0] : said[1]] == name:
        return said[0], said[1]
    return _span_of(text, name)


def _span_of(text: str, name: str) -> tuple[int, int] | None:
    place = text.find(name)
    return None if place < 0 else (place, place + len(name))


def _first(item: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((item[key] for key in keys if item.get(key) is not None), None)


def _whole(value: Any) -> int | None:
    return int(float(value)) if is_number(value) else None


def _unknown_form(item: Any) -> BadRow:
    return BadRow(
        Text(f"a span or relation in an unknown form: {item!r:.80}", f"片段或关系的形式无法识别：{item!r:.80}"),
        Text('Write {"start": 0, "end": 2, "label": "person"} or {"subject": ..., "predicate": ..., "object": ...}.',
             '请写成 {"start": 0, "end": 2, "label": "人名"} 或 {"subject": ..., "predicate": ..., "object": ...}。'),
    )  # fmt: skip

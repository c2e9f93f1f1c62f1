"""Spans and relations: CLUENER, DuIE, DuEE, SemEval-2010 task 8, lists of entities; spans stand where they say."""

import json
from pathlib import Path
from typing import Any

from hanlin.base.records import Extracted, Relation, Span
from hanlin.records.config import DataConfig
from hanlin.records.load import load_records
from hanlin.records.loaded import Loaded


def load(tmp_path: Path, *rows: dict[str, Any], **settings: Any) -> Loaded[Extracted]:
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return load_records(Extracted, [file], DataConfig.model_validate(settings))


def test_cluener_has_inclusive_ends(tmp_path: Path) -> None:
    row = {"text": "彭小军认为台湾好", "label": {"name": {"彭小军": [[0, 2]]}, "address": {"台湾": [[5, 6]]}}}
    loaded = load(tmp_path, row)
    assert loaded.records[0].spans == (
        Span(start=0, stop=3, kind="name"),
        Span(start=5, stop=7, kind="address"),
    )
    assert any("last characters" in note.en for note in loaded.notes)


def test_lists_of_entities_have_exclusive_ends_unless_their_words_say_otherwise(tmp_path: Path) -> None:
    text = "Ann met Bob"
    half_open = {"text": text, "entities": [{"start": 0, "end": 3, "label": "PER"}, [8, 11, "PER"]]}
    closed = {"text": text, "entities": [{"start": 8, "end": 10, "type": "PER", "word": "Bob"}]}
    named = {
        "full_text": text,
        "spans": [{"entity_type": "PER", "entity_value": "Bob", "start_position": 8, "end_position": 11}],
    }
    assert load(tmp_path, half_open).records[0].spans == (
        Span(start=0, stop=3, kind="PER"),
        Span(start=8, stop=11, kind="PER"),
    )
    for row in (closed, named):
        assert load(tmp_path, row).records[0].spans == (Span(start=8, stop=11, kind="PER"),)


def test_a_span_that_is_elsewhere_is_mended_and_one_that_is_nowhere_is_named(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        {"text": "Ann met Bob", "entities": [{"start": 9, "end": 12, "label": "PER", "word": "Bob"}]},
        {"text": "Ann met Bob", "entities": [{"start": 0, "end": 4, "label": "PER", "word": "Carl"}]},
        {"text": "Ann met Bob", "entities": [{"start": 8, "end": 20, "label": "PER"}]},
        {"text": "Bob met Bob", "entities": [{"label": "PER", "word": "Bob"}]},
        on_error="skip",
    )
    assert [record.spans for record in loaded.records] == [(Span(start=8, stop=11, kind="PER"),)]
    assert [one.place.rpartition(":")[2] for one in loaded.skipped] == ["2", "3", "4"]
    assert "several places" in loaded.skipped[2].reason.en
    assert any("1 rows: a span stands elsewhere" in note.en for note in loaded.notes)


def test_duie_triples_have_places_and_parts(tmp_path: Path) -> None:
    spo = [
        {
            "predicate": "作者",
            "subject": "邪少兵王",
            "object": {"@value": "冰火未央"},
            "object_type": {"@value": "人物"},
        },
        {"predicate": "上映时间", "subject": "邪少兵王", "object": {"@value": "2001年", "inArea": "中国"}},
    ]
    (record,) = load(tmp_path, {"text": "《邪少兵王》是冰火未央写的", "spo_list": spo}).records
    assert record.spans is None
    assert record.relations is not None
    assert record.relations[0] == Relation(
        subject="邪少兵王", relation="作者", object="冰火未央", subject_span=(1, 5), object_span=(7, 11)
    )
    assert [one.relation for one in record.relations] == ["作者", "上映时间", "上映时间/inArea"]
    assert record.relations[2].object_span is None


def test_duee_events_are_spans_of_type_and_role(tmp_path: Path) -> None:
    event = {
        "event_type": "组织关系-裁员", "trigger": "裁员", "trigger_start_index": 2,
        "arguments": [{"role": "裁员人数", "argument": "900人", "argument_start_index": 4}],
    }  # fmt: skip
    (record,) = load(tmp_path, {"text": "华企裁员900人", "event_list": [event]}).records
    assert record.spans == (
        Span(start=2, stop=4, kind="组织关系-裁员"),
        Span(start=4, stop=8, kind="组织关系-裁员/裁员人数"),
    )


def test_semeval_marks_become_spans_and_the_relation_has_its_direction(tmp_path: Path) -> None:
    file = tmp_path / "TRAIN_FILE.TXT"
    file.write_text(
        '1\t"The <e1>array</e1> of <e2>elements</e2>."\nComponent-Whole(e2,e1)\nComment: <e1> is fine\n\n'
        '2\t"The <e1>child</e1> in a <e2>cradle</e2>."\nOther\nComment:\n\n'
    )
    loaded = load_records(Extracted, [file], DataConfig())
    first, second = loaded.records
    assert first.text == "The array of elements."
    assert first.relations == (
        Relation(
            subject="elements",
            relation="Component-Whole",
            object="array",
            subject_span=(13, 21),
            object_span=(4, 9),
        ),
    )
    assert second.relations is not None
    assert (second.relations[0].subject, second.relations[0].relation) == ("child", "Other")

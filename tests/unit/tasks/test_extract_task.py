"""Spans, spans that overlap, triples, events, and relations between spans that are given: learned, said, counted, refused."""

import pytest
import torch

from finetuning import learn, tiny
from hanlin.base.errors import DataError
from hanlin.base.records import Extracted, Relation, Span
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.model.rehead import with_head
from hanlin.tasks.extract import Extract
from hanlin.tasks.found import Found, FoundRelation
from hanlin.tasks.opened import Opened
from hanlin.tasks.relate import NONE, Relate, mark, with_spans
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.wordpiece import train_wordpiece
from tiny import CPU

LINES = [
    "Ann Lee wrote Red Sand . Bob read @ * # ^",
    "小明写了《红沙》，小红读过。",
    "person book e1 e2 - @ * # ^",
] * 8


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extract-bert")
    settings = TokenizerConfig(model="wordpiece", vocab_size=260, on_small="shrink")
    save_tokenizer(train_wordpiece(LINES, settings), "wordpiece", folder)
    return Tokenizer.load(folder)


def of(text, *spans, relations=None):
    """kind=words; a relation is (words, name, words)."""
    found = tuple(
        Span(start=text.index(words), stop=text.index(words) + len(words), kind=kind) for kind, words in spans
    )
    places = {words: (text.index(words), text.index(words) + len(words)) for words in _words(relations)}
    related = None if relations is None else tuple(
        Relation(subject=a, relation=name, object=b, subject_span=places[a], object_span=places[b])
        for a, name, b in relations
    )  # fmt: skip
    return Extracted(text=text, spans=found if spans else None, relations=related)


def _words(relations):
    return {words for one in relations or () for words in (one[0], one[2])}


FLAT = [
    of("Ann Lee wrote Red Sand .", ("person", "Ann Lee"), ("book", "Red Sand")),
    of("小明写了《红沙》，小红读过。", ("person", "小明"), ("book", "《红沙》"), ("person", "小红")),
    of("Bob read .", ("person", "Bob")),
]
NESTED = [
    of("Ann Lee wrote Red Sand .", ("name", "Lee"), ("person", "Ann Lee")),
    of(
        "小明写了《红沙》，小红读过。",
        ("name", "明"),
        ("person", "小明"),
        ("name", "红沙"),
        ("book", "《红沙》"),
    ),
]
TRIPLES = [
    of("Ann Lee wrote Red Sand .", relations=[("Ann Lee", "wrote", "Red Sand")]),
    of(
        "小明写了《红沙》，小红读过。",
        relations=[("小明", "wrote", "《红沙》"), ("小红", "read", "《红沙》")],
    ),
]


def opened_for(task, tokenizer):
    torch.manual_seed(0)
    body = tiny(layers=1, vocab_size=tokenizer.vocab_size, window=64)
    return Opened("tiny", with_head(body, **task.head())[0], tokenizer, CPU, GenerationDefaults())


def learned(task, tokenizer, records, steps=80, rate=2e-2):
    task = task.begun(records)
    opened = opened_for(task, tokenizer)
    learn(opened.model, task.objective(records), task.examples(opened, records), steps, rows=4, rate=rate)
    return task, opened


@pytest.mark.parametrize("settings", [{}, {"crf": True}, {"nested": True}])
def test_spans_are_learned_and_said_in_characters(tokenizer, settings):
    task, opened = learned(Extract(**settings), tokenizer, FLAT)
    assert (task.kinds, task.relations, task.nested) == (
        ("book", "person"),
        (),
        settings.get("nested", False),
    )
    said = task.predict(opened, FLAT)
    for record, one in zip(FLAT, said, strict=True):
        assert {(s.start, s.stop, s.kind) for s in one.spans} == {
            (s.start, s.stop, s.kind) for s in record.spans
        }
        assert all(record.text[s.start : s.stop] == s.text and 0 < s.probability <= 1 for s in one.spans)
        assert task.said(one) == record.answer
    values = {measure.name: measure.value for measure in task.measures(FLAT, said)}
    assert values == dict.fromkeys(["f1", "precision", "recall", "macro_f1", "f1_book", "f1_person"], 1)
    assert not task.wrongness(FLAT, said).any()
    assert task.wrongness(FLAT, [Found()] * 3).tolist() == [1, 1, 1]
    assert Extract.model_validate_json(task.model_dump_json()) == task


def test_spans_that_overlap_are_learned(tokenizer):
    task, opened = learned(Extract(), tokenizer, NESTED)
    assert task.nested
    said = task.predict(opened, NESTED)
    assert [task.said(one) for one in said] == [
        "person: Ann Lee; name: Lee", "person: 小明; name: 明; book: 《红沙》; name: 红沙"
    ]  # fmt: skip
    assert task.measures(NESTED, said)[0].value == 1


def test_where_spans_seldom_overlap_the_longest_is_learned_and_that_is_said(tokenizer, capsys):
    records = [*FLAT * 60, NESTED[0]]
    task = Extract(kinds=("book", "name", "person")).begun(records)
    assert task.nested is False
    task.examples(opened_for(task, tokenizer), records)
    said = " ".join(capsys.readouterr().err.split())
    assert "1 of 181 records have spans that overlap" in said
    assert task._learned(NESTED[0]) == [(0, 7, "person")]


def test_kinds_that_are_not_learned_are_left_out_and_named(tokenizer, capsys):
    task = Extract(kinds=("person",)).begun(FLAT)
    task.examples(opened_for(task, tokenizer), FLAT)
    assert "book" in capsys.readouterr().err
    assert task.labels == ("O", "B-person", "I-person")


def test_triples_are_pairs_of_subjects_and_objects(tokenizer):
    task, opened = learned(Extract(), tokenizer, TRIPLES)
    assert (task.kinds, task.relations, task.nested) == ((), ("read", "wrote"), True)
    said = task.predict(opened, TRIPLES)
    assert [(r.subject, r.relation, r.object) for r in said[1].relations] == [
        ("小明", "wrote", "《红沙》"), ("小红", "read", "《红沙》")
    ]  # fmt: skip
    assert said[0].spans == ()
    found = said[0].relations[0]
    assert TRIPLES[0].text[slice(*found.subject_span)] == "Ann Lee"
    measures = task.measures(TRIPLES, said)
    assert (measures[0].name, measures[0].value) == ("triple_f1", 1)


def test_texts_beyond_the_window_are_read_whole(tokenizer):
    task, opened = learned(Extract(max_tokens=24, overlap=8), tokenizer, FLAT)
    text = FLAT[1].text * 8
    (said,) = task.predict(opened, [Extracted(text=text)])
    names = [span.text for span in said.spans]
    assert names.count("《红沙》") >= 6
    assert max(span.start for span in said.spans) > len(text) - 16


def test_training_records_need_answers():
    with pytest.raises(DataError, match="x:1 has neither spans nor relations"):
        Extract().begun([Extracted(text="a")], ["x:1"])


RELATED = [
    of("Ann Lee wrote Red Sand .", ("e1", "Ann Lee"), ("e2", "Red Sand"), relations=[("Ann Lee", "author", "Red Sand")]),
    of("《红沙》，小明写了。", ("e1", "《红沙》"), ("e2", "小明"), relations=[("小明", "author", "《红沙》")]),
    of("Bob read Red Sand .", ("e1", "Bob"), ("e2", "Red Sand"), relations=[("Bob", "other", "Red Sand")]),
]  # fmt: skip


def test_relations_between_given_spans_are_learned_with_their_direction(tokenizer):
    task, opened = learned(Relate(), tokenizer, RELATED, rate=1e-2)
    assert task.labels == ("author(1,2)", "author(2,1)", "other(1,2)")
    assert (task.pairs, task.several) == ((("e1", "e2"),), False)
    said = task.predict(opened, RELATED)
    for record, one in zip(RELATED, said, strict=True):
        (true,), (found,) = record.relations, one.relations
        assert (found.subject, found.relation, found.object) == (true.subject, true.relation, true.object)
        assert (found.subject_span, found.object_span) == (true.subject_span, true.object_span)
    values = {measure.name: measure.value for measure in task.measures(RELATED, said)}
    assert values == dict.fromkeys(["triple_f1", "triple_precision", "triple_recall", "macro_f1"], 1)
    assert not task.wrongness(RELATED, said).any()
    assert task.predict(opened, [Extracted(text="Bob read .", spans=())]) == [Found()]
    assert Relate.model_validate_json(task.model_dump_json()) == task


def test_pairs_without_a_relation_are_a_class_and_several_can_hold(tokenizer):
    text = "小明写了《红沙》，小红读过。"
    spans = [("person", "小明"), ("book", "《红沙》"), ("person", "小红")]
    one = of(text, *spans, relations=[("小明", "wrote", "《红沙》")])
    task = Relate(pairs=(("person", "book"), ("book", "person"))).begun([one])
    assert task.labels == (NONE, "wrote(1,2)")
    assert [each.labels for each in task._marked([one])] == [("wrote(1,2)",), (NONE,)]
    both = of(text, *spans, relations=[("小明", "wrote", "《红沙》"), ("小明", "read", "《红沙》")])
    task, opened = learned(Relate(), tokenizer, [both], steps=60)
    assert (task.several, task.labels) == (True, ("read(1,2)", "wrote(1,2)"))
    (said,) = task.predict(opened, [both])
    assert {found.relation for found in said.relations} == {"read", "wrote"}


def test_a_pair_is_marked_with_its_kinds_and_far_text_is_left_out():
    text = "x" * 500 + "小明写了《红沙》" + "y" * 500
    first, second = Span(start=500, stop=502, kind="person"), Span(start=504, stop=508, kind="")
    marked = mark(text, first, second)
    assert marked == "x" * 200 + "@ * person * 小明 @写了# 《红沙》 #" + "y" * 200


def test_spans_that_were_found_are_what_relations_are_told_between(tokenizer):
    extract, first = learned(Extract(kinds=("e1", "e2")), tokenizer, RELATED)
    relate, second = learned(Relate(), tokenizer, RELATED, rate=1e-2)
    texts = [Extracted(text=record.text) for record in RELATED]
    found = extract.predict(first, texts)
    said = relate.predict(second, with_spans(texts, found))
    assert relate.measures(RELATED, said)[0].value == 1


def test_triples_are_right_by_their_words():
    wrong = FoundRelation(
        subject="Ann",
        relation="author",
        object="Red Sand",
        subject_span=(0, 3),
        object_span=(14, 22),
        probability=1.0,
    )
    values = {m.name: m.value for m in Relate().measures(RELATED[:1], [Found(relations=(wrong,))])}
    assert values["triple_f1"] == 0


def test_records_without_relations_are_refused():
    with pytest.raises(DataError, match="x:1 has no relations"):
        Relate().begun([FLAT[0]], ["x:1"])
    with pytest.raises(DataError, match="no relation between two of their spans"):
        Relate().begun([of("Bob read .", ("person", "Bob"), relations=[])])

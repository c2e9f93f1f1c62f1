"""Extraction as JSON: what is to be written, and what was written read back."""

import pytest

from hanlin.base.records import Extracted, Relation, Span
from hanlin.tasks.extract_json import ExtractJson, as_json, read_json
from hanlin.tasks.writing import Continued

RECORD = Extracted(
    text="Lu Xun, born in Shaoxing, wrote Nahan. 鲁迅 wrote.",
    spans=(Span(start=16, stop=24, kind="place"), Span(start=0, stop=6, kind="person"), Span(start=39, stop=41, kind="person")),
    relations=(Relation(subject="Lu Xun", relation="born in", object="Shaoxing"),),
)  # fmt: skip


def said(text):
    return read_json(RECORD.text, Continued(text=text, ended=True))


def test_what_is_written_is_read_back():
    written = as_json(RECORD)
    assert written == (
        '{"spans": [{"kind": "person", "text": "Lu Xun"}, {"kind": "place", "text": "Shaoxing"}, '
        '{"kind": "person", "text": "鲁迅"}], "relations": [{"subject": "Lu Xun", "relation": "born in", "object": "Shaoxing"}]}'
    )
    back = said(written)
    assert set(back.spans) == set(RECORD.spans)
    assert back.relations == RECORD.relations
    assert (back.malformed, back.not_found) == (False, 0)
    task = ExtractJson()
    assert task.answers_of(RECORD) == (written,)
    assert task.answers_of(Extracted(text="a")) == ()
    assert task.answers_of(Extracted(text="a", spans=())) == ('{"spans": []}',)


@pytest.mark.parametrize("text", ["", "nothing", '{"spans": [{"kind": "x"}]}', '{"spans": "a"}', '{"names": []}', '{"spans": [{"kind'])  # fmt: skip
def test_what_is_no_json_of_this_form_is_malformed(text):
    back = said(text)
    assert (back.malformed, back.spans, back.text) == (True, (), text)


def test_words_that_do_not_stand_in_the_text_are_counted_and_equal_ones_found_in_turn():
    twice = '{"spans": [{"kind": "verb", "text": "wrote"}, {"kind": "verb", "text": "wrote"}, {"kind": "verb", "text": "read"}, {"kind": "verb", "text": ""}]}'
    back = said(twice)
    assert [(one.start, one.stop) for one in back.spans] == [(26, 31), (42, 47)]
    assert back.not_found == 2


def test_figures_are_those_of_the_words_and_of_what_is_malformed():
    task = ExtractJson()
    half = '{"spans": [{"kind": "person", "text": "Lu Xun"}, {"kind": "person", "text": "Shaoxing"}], "relations": []}'
    predictions = [said(as_json(RECORD)), said(half), said("Lu Xun")]
    figures = {one.name: one.value for one in task.measures([RECORD] * 3, predictions)}
    assert next(iter(figures)) == "f1"
    assert figures["precision"] == pytest.approx(4 / 5)
    assert figures["recall"] == pytest.approx(4 / 9)
    assert figures["triple_recall"] == pytest.approx(1 / 3)
    assert figures["malformed"] == pytest.approx(1 / 3)
    assert task.wrongness([RECORD] * 3, predictions).tolist() == pytest.approx([0, 1 - 2 / 6, 1])
    assert task.begun([RECORD]).language == "en"

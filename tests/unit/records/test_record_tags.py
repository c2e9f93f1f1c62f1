"""Words with tags: schemes of tags are recognised and become BIO, and what is no valid BIO is named."""

from pathlib import Path

import pytest

from hanlin.base.records import Extracted, Span, TaggedWords
from hanlin.records.config import DataConfig
from hanlin.records.load import load_records
from hanlin.records.span_tags import spans_of_tags, tags_of_spans
from hanlin.records.tag_schemes import as_bio, invalid_place, scheme_of

BIO = ("B-PER", "I-PER", "I-PER", "O", "B-ORG", "B-ORG", "O")


@pytest.mark.parametrize(
    ("scheme", "tags"),
    [
        ("BIO", BIO),
        ("BIOES", ("B-PER", "I-PER", "E-PER", "O", "S-ORG", "S-ORG", "O")),
        ("BMES", ("B-PER", "M-PER", "E-PER", "O", "S-ORG", "S-ORG", "O")),
        ("BILOU", ("B-PER", "I-PER", "L-PER", "O", "U-ORG", "U-ORG", "O")),
        ("IOB1", ("I-PER", "I-PER", "I-PER", "O", "I-ORG", "B-ORG", "O")),
    ],
)
def test_every_scheme_is_recognised_and_says_the_same_in_bio(scheme: str, tags: tuple[str, ...]) -> None:
    found = scheme_of([tags])
    assert found == scheme
    assert found is not None
    assert as_bio(tags, found) == BIO


def test_tags_of_single_words_have_no_scheme() -> None:
    assert scheme_of([("NN", "VB", "O")]) is None
    assert scheme_of([("B", "E", "S")]) is None


@pytest.mark.parametrize(
    ("tags", "place"), [(("O", "I-PER"), 1), (("B-PER", "I-ORG"), 1), (("I-PER",), 0), (BIO, None)]
)
def test_the_first_tag_that_goes_on_with_nothing_is_found(tags: tuple[str, ...], place: int | None) -> None:
    assert invalid_place(tags) == place


def test_a_sentence_of_invalid_bio_is_named_with_its_word_and_mend(tmp_path: Path) -> None:
    file = tmp_path / "a.bio"
    file.write_text("张 B-PER\n三 I-PER\n\n李 O\n四 I-PER\n\n好 O\n的 B-LOC\n")
    loaded = load_records(TaggedWords, [file], DataConfig(on_error="skip"))
    assert [record.words for record in loaded.records] == [("张", "三"), ("好", "的")]
    (problem,) = loaded.skipped
    assert problem.place.endswith(":4")
    assert "'四'" in problem.reason.en
    assert "B-PER" in problem.mend.zh


def test_bmes_is_converted_and_that_is_said(tmp_path: Path) -> None:
    file = tmp_path / "a.char.bmes"
    file.write_text("吴 B-NAME\n重 M-NAME\n阳 E-NAME\n， O\n\n人 S-CONT\n民 O\n")
    loaded = load_records(TaggedWords, [file], DataConfig())
    assert loaded.records[0].tags == ("B-NAME", "I-NAME", "I-NAME", "O")
    assert any("BMES" in note.en for note in loaded.notes)


def test_numbers_of_characters_in_words_are_taken_off(tmp_path: Path) -> None:
    file = tmp_path / "weibo.train"
    file.write_text("科0\tB-ORG\n技1\tI-ORG\n\n全0\tO\n方1\tO\n")
    loaded = load_records(TaggedWords, [file], DataConfig())
    assert loaded.records[0].words == ("科", "技")


def test_lists_texts_with_spaces_and_texts_by_character_are_words(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(
        '{"tokens": ["我", "来"], "ner_tags": [0, 3]}\n'
        '{"tokens": "I came", "ner_tags": "0 3"}\n'
        '{"tokens": "我来", "ner_tags": ["0", "3"]}\n'
        '{"tokens": "我来了", "ner_tags": ["0", "3"]}\n'
    )
    loaded = load_records(TaggedWords, [file], DataConfig(on_error="skip"))
    assert [record.words for record in loaded.records] == [("我", "来"), ("I", "came"), ("我", "来")]
    assert {record.tags for record in loaded.records} == {("0", "3")}
    assert "and 2 tags" in loaded.skipped[0].reason.en


def test_spans_are_tags_of_words_and_tags_are_spans_again() -> None:
    text = "在CSOL里，Ann Lee见了张三丰。"
    spans = (
        Span(start=1, stop=5, kind="game"),
        Span(start=7, stop=14, kind="name"),
        Span(start=16, stop=19, kind="name"),
    )
    words, tags, lost = tags_of_spans(text, spans)
    assert words == ("在", "CSOL", "里", "，", "Ann", "Lee", "见", "了", "张", "三", "丰", "。")
    assert [tag for tag in tags if tag != "O"] == ["B-game", "B-name", "I-name", "B-name", "I-name", "I-name"]
    assert lost == 0
    again, found = spans_of_tags(words, tags)
    assert [(again[one.start : one.stop], one.kind) for one in found] == [
        ("CSOL", "game"),
        ("Ann Lee", "name"),
        ("张三丰", "name"),
    ]


def test_a_span_within_a_word_cuts_it_and_one_within_another_has_no_tag() -> None:
    spans = (
        Span(start=0, stop=2, kind="a"),
        Span(start=5, stop=9, kind="b"),
        Span(start=6, stop=8, kind="c"),
    )
    words, tags, lost = tags_of_spans("abcd efghi", spans)
    assert words == ("ab", "cd", "efgh", "i")
    assert tags == ("B-a", "O", "B-b", "O")
    assert lost == 1


def test_cluener_is_read_as_tags_and_conll_as_spans(tmp_path: Path) -> None:
    spans = tmp_path / "a.jsonl"
    spans.write_text(
        '{"text": "张三在北京", "label": {"name": {"张三": [[0, 1]]}, "address": {"北京": [[3, 4]]}}}\n'
    )
    loaded = load_records(TaggedWords, [spans], DataConfig())
    assert loaded.records == [
        TaggedWords(words=tuple("张三在北京"), tags=("B-name", "I-name", "O", "B-address", "I-address"))
    ]
    words = tmp_path / "a.conll"
    words.write_text("EU S-ORG\nrejects O\n\nNew B-LOC\nYork E-LOC\n")
    assert load_records(Extracted, [words], DataConfig()).records == [
        Extracted(text="EU rejects", spans=(Span(start=0, stop=2, kind="ORG"),)),
        Extracted(text="New York", spans=(Span(start=0, stop=8, kind="LOC"),)),
    ]

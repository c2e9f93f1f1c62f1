"""Texts that are changed, and the answers that must stay right."""

from random import Random

import pytest

from hanlin.base.records import (
    Dialogue,
    Extracted,
    Labelled,
    Matched,
    Question,
    Relation,
    Scored,
    Span,
    TaggedWords,
    Turn,
    Written,
)
from hanlin.evaluate.perturb import PERTURBATIONS
from hanlin.evaluate.perturb_records import change_around, perturbed
from hanlin.evaluate.perturb_zh import _ALIKE, _GROUPS

ENGLISH = "The quick brown fox, which isn't lazy, jumped over 3.5 sleeping dogs yesterday evening."
CHINESE = "这家酒店的服务非常好，房间也很干净，下次有时间还会再来的！"
BY_NAME = {how.name: how for how in PERTURBATIONS}
ADDING = [how for how in PERTURBATIONS if how.place != "within"]


def change(name, text, seed=0):
    return BY_NAME[name].change(text, Random(seed))


def tries(name, text):
    return [change(name, text, seed) for seed in range(20)]


def test_the_same_seed_gives_the_same_text_and_another_seed_another():
    for name in ("typos", "symbols"):
        assert tries(name, ENGLISH) == tries(name, ENGLISH)
        assert len(set(tries(name, ENGLISH))) > 1
    assert len(set(tries("homophones", CHINESE))) > 1


def test_each_change_leaves_the_other_language_alone():
    assert set(tries("typos", CHINESE)) == {CHINESE}
    for name in ("homophones", "script", "width"):
        assert set(tries(name, ENGLISH)) == {ENGLISH}


def test_typos_change_long_words_alone():
    for text in tries("typos", ENGLISH):
        words, old = text.split(), ENGLISH.split()
        assert len(words) == len(old)
        assert all(new == word for new, word in zip(words, old, strict=True) if len(word.strip(",.")) < 4)
        assert all(new[0] == word[0] for new, word in zip(words, old, strict=True))


def test_homophones_replace_characters_by_others_of_their_group():
    for text in tries("homophones", CHINESE):
        assert len(text) == len(CHINESE)
        assert all(new == old or new in _ALIKE[old] for new, old in zip(text, CHINESE, strict=True))


def test_no_character_stands_in_two_groups_of_homophones():
    letters = "".join(_GROUPS.split())
    assert len(letters) == len(set(letters))
    assert all(len(group) > 1 for group in _GROUPS.split())


def test_the_rest_says_what_it_does():
    assert change("lower case", ENGLISH) == ENGLISH.lower()
    assert change("upper case", ENGLISH) == ENGLISH.upper()
    assert change("punctuation", ENGLISH) == ENGLISH.replace(",", "").removesuffix(".")
    assert change("punctuation", "好，“很好”。") == "好很好"
    assert change("width", "ＡＢＣ１２３，好。") == "ABC123,好."
    assert change("width", "买了3本") == "买了３本"
    assert change("distractor", ENGLISH).startswith(ENGLISH + " ")
    assert change("distractor", CHINESE).startswith(CHINESE)
    assert change("framing", CHINESE).endswith("：" + CHINESE)
    assert all(text.replace(" ", "") == CHINESE for text in tries("spaces", CHINESE))
    assert all(len(text) > len(ENGLISH) for text in tries("symbols", ENGLISH))


def test_script_turns_either_way():
    pytest.importorskip("opencc")
    assert change("script", "头发很长") == "頭髮很長"
    assert change("script", "頭髮很長") == "头发很长"


TEXT = "Yesterday Alice Smith went to New York, with Alice's brother; 昨天王小明在北京时间很长。"
SPANS = tuple(
    Span(start=TEXT.index(name), stop=TEXT.index(name) + len(name), kind="name")
    for name in ("Alice Smith", "Smith", "New York", "王小明", "北京")
)


@pytest.mark.parametrize("how", PERTURBATIONS, ids=lambda how: how.name)
@pytest.mark.parametrize("seed", range(5))
def test_spans_hold_the_same_words_at_their_new_places(how, seed):
    if how.name == "script":
        pytest.importorskip("opencc")
    relation = Relation(subject="Alice Smith", relation="in", object="New York", subject_span=(10, 21))
    record = Extracted(
        text=TEXT, spans=SPANS, relations=(relation, Relation(subject="王小明", relation="in", object="北京"))
    )
    changed = perturbed(record, how, Random(seed))
    assert [changed.text[one.start : one.stop] for one in changed.spans] == [
        TEXT[one.start : one.stop] for one in SPANS
    ]
    start, stop = changed.relations[0].subject_span
    assert changed.text[start:stop] == "Alice Smith"
    assert all(one.subject in changed.text and one.object in changed.text for one in changed.relations)


@pytest.mark.parametrize("how", PERTURBATIONS, ids=lambda how: how.name)
def test_answers_stay_in_their_context(how):
    if how.name == "script":
        pytest.importorskip("opencc")
    answers = ("New York", "Alice")
    starts = tuple(map(TEXT.index, answers))
    record = Question(question="Where did Alice go yesterday?", context=TEXT, answers=answers, starts=starts)
    changed = perturbed(record, how, Random(1))
    assert changed.answers == answers
    assert all(
        changed.context[start : start + len(answer)] == answer
        for start, answer in zip(changed.starts, answers, strict=True)
    )
    without = perturbed(record.model_copy(update={"starts": None}), how, Random(1))
    assert all(without.context.count(answer) == TEXT.count(answer) for answer in answers)


@pytest.mark.parametrize("how", PERTURBATIONS, ids=lambda how: how.name)
def test_words_with_tags_stay_as_many_and_one_each(how):
    record = TaggedWords(
        words=("北", "京", "Wonderful", "weather", ",", "在"), tags=("B", "I", "O", "O", "O", "O")
    )
    for seed in range(5):
        changed = perturbed(record, how, Random(seed))
        assert changed.tags == record.tags
        assert len(changed.words) == len(record.words)
        assert all(word and not any(map(str.isspace, word)) for word in changed.words)


@pytest.mark.parametrize("how", ADDING, ids=lambda how: how.name)
def test_no_sentence_is_added_where_it_would_change_the_answer(how):
    for record in (
        Labelled(text="a", pair="b", labels=("same",)),
        Scored(text="a", pair="b", score=3.0),
        TaggedWords(words=("a",), tags=("O",)),
        Written(source="a", targets=("b",)),
        Matched(query="a", found=("b",)),
    ):
        assert perturbed(record, how, Random(0)) == record


def test_answers_of_other_kinds_are_never_touched():
    upper = BY_NAME["upper case"]
    assert perturbed(Labelled(text="a", pair="b", labels=("x",)), upper, Random(0)) == Labelled(
        text="A", pair="B", labels=("x",)
    )
    assert perturbed(Written(source="a", targets=("b",)), upper, Random(0)).targets == ("b",)
    assert perturbed(Matched(query="a", found=("b",)), upper, Random(0)) == Matched(query="A", found=("b",))
    turns = (Turn(role="user", content="a"), Turn(role="assistant", content="b"))
    assert [turn.content for turn in perturbed(Dialogue(messages=turns), upper, Random(0)).messages] == [
        "A",
        "b",
    ]


def test_a_text_of_punctuation_alone_stays():
    record = Labelled(text="?!", labels=("x",))
    assert perturbed(record, BY_NAME["punctuation"], Random(0)) == record


def test_stretches_that_lie_in_each_other_are_kept_once():
    moved = change_around("ab cd ef gh", [(3, 5), (3, 8), (4, 8)], lambda piece: piece.upper() * 2)
    assert moved.text == "AB AB cd ef GH GH"
    assert [moved.place(start) for start in (3, 4, 6)] == [6, 7, 9]

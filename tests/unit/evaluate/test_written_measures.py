"""BLEU, chrF and ROUGE against the packages where these are right, and where they are wrong: Chinese."""

import numpy as np
import pytest

from hanlin.evaluate.rouge import longest_common_subsequence, rouge_measures
from hanlin.evaluate.words import counted_words, script_of, segmented_words
from hanlin.evaluate.written import distinct, repetition, signatures, written_measures

ENGLISH = [
    ["The cat sat on the mat, didn't it?", "A cat was sitting on the mat."],
    ["It is raining_hard to-day!"],
    ["Police killed the gunman.", "The gunman was shot down by police.", "Gunman shot."],
    ["One."],
]
SAID = ["the cat sat on a mat", "It's raining hard today; it is.", "the gunman police killed", ""]
CHINESE = ["今天天气很好，我们去公园散步。", "他昨天买了三本新书。"]


def values(targets: list[list[str]], said: list[str], **options: bool) -> dict[str, float]:
    return {one.name: one.value for one in written_measures(targets, said, **options)}


def test_bleu_and_chrf_are_those_of_sacrebleu_on_any_choice_of_texts() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    measures = {one.name: one for one in written_measures(ENGLISH, SAID)}
    for ids in (np.arange(4), np.array([0, 2, 2, 1])):
        streams = [[(ENGLISH[i] + [None] * 3)[r] for i in ids] for r in range(3)]
        said = [SAID[i] for i in ids]
        assert measures["bleu"].of(ids) == pytest.approx(sacrebleu.corpus_bleu(said, streams).score)
        assert measures["chrf"].of(ids) == pytest.approx(sacrebleu.corpus_chrf(said, streams).score)
    assert values([["A B C D"]], ["a b c d"])["bleu"] < 1
    assert values([["A B C D"]], ["a b c d"], lower_case=True)["bleu"] == pytest.approx(100)


def test_the_signature_says_how_text_was_cut() -> None:
    assert "tok:13a" in signatures(ENGLISH, SAID)["bleu"]
    assert "nrefs:var" in signatures(ENGLISH, SAID)["chrf"]
    chinese = signatures([[one] for one in CHINESE], CHINESE, lower_case=True)["bleu"]
    assert "tok:zh" in chinese
    assert "case:lc" in chinese


def test_english_rouge_is_that_of_rouge_score_without_stemming() -> None:
    rouge_score = pytest.importorskip("rouge_score.rouge_scorer")
    names = ["rouge1", "rouge2", "rougeL"]
    plain = rouge_score.RougeScorer(names)
    for targets, said in zip(ENGLISH, SAID, strict=True):
        expected = {name: score.fmeasure for name, score in plain.score_multi(targets, said).items()}
        assert {one.name: one.value for one in rouge_measures([targets], [said])} == pytest.approx(expected)
    # With stemming the package takes "killing" for "killed"; ours does not.
    stemmed = rouge_score.RougeScorer(["rouge1"], use_stemmer=True).score("killed", "killing")
    assert (stemmed["rouge1"].fmeasure, rouge_measures([["killed"]], ["killing"])[0].value) == (1, 0)


@pytest.mark.parametrize("chinese_words", [False, True])
def test_a_chinese_text_that_is_the_same_is_entirely_right(chinese_words: bool) -> None:
    measured = values([[one] for one in CHINESE], CHINESE, chinese_words=chinese_words)
    same = [measured[name] for name in ("rouge1", "rouge2", "rougeL", "exact_match", "bleu", "chrf")]
    assert same == pytest.approx([1, 1, 1, 1, 100, 100])


def test_rouge_score_sees_no_chinese_at_all() -> None:
    """Its tokens are a-z and 0-9: equal texts have nothing in common, unequal ones with the same year are equal."""
    rouge_score = pytest.importorskip("rouge_score.rouge_scorer")
    scorer = rouge_score.RougeScorer(["rouge1", "rougeL"])
    assert scorer.score(CHINESE[0], CHINESE[0])["rougeL"].fmeasure == 0
    true, other = "2024年经济增长", "2024年暴雨成灾"
    assert scorer.score(true, other)["rouge1"].fmeasure == 1
    # 2024 年 in common, of 6 each
    assert rouge_measures([[true]], [other])[0].value == pytest.approx(2 / 6)


def test_sacrebleu_as_it_comes_takes_a_line_of_chinese_for_a_word() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    target = "他们昨天下午在公园里散步了很久很久"
    said = "他们昨天下午在公园里散步了很久"
    assert sacrebleu.corpus_bleu([said], [[target]]).score == 0
    ours = values([[target]], [said])["bleu"]
    assert ours == pytest.approx(sacrebleu.corpus_bleu([said], [[target]], tokenize="zh").score)
    assert ours > 80


def test_rouge_by_hand() -> None:
    """5 words said of 6: 4 in common as a bag, 3 in order; pairs in common: "the cat"."""
    rouge1, rouge2, rouge_l = rouge_measures([["the cat was under the bed"]], ["under a the cat bed"])
    assert (rouge1.value, rouge2.value, rouge_l.value) == pytest.approx((8 / 11, 2 / 9, 6 / 11))


def test_the_longest_common_subsequence_is_that_of_the_table() -> None:
    generator = np.random.default_rng(0)

    def by_table(first: str, second: str) -> int:
        row = [0] * (len(first) + 1)
        for word in second:
            above = row
            row = [0]
            for place, other in enumerate(first):
                row.append(above[place] + 1 if word == other else max(row[-1], above[place + 1]))
        return row[-1]

    for _ in range(100):
        first, second = ("".join(generator.choice([*"abcd"], size)) for size in generator.integers(0, 90, 2))
        assert longest_common_subsequence(first, second) == by_table(first, second)


def test_words_of_both_languages() -> None:
    assert counted_words("Don't 买GPT-4，好吗？") == ["don", "t", "买", "gpt", "4", "好", "吗"]
    assert segmented_words("我们去公园散步。") == ["我们", "去", "公园", "散步"]
    assert script_of(["今天 is 好天气"]) == "han"
    assert script_of(["今日は天気がいいですね"]) == "unspaced"
    assert script_of(["Some 字 here"]) == script_of([]) == "spaced"


def test_repetition_and_diversity() -> None:
    """'a b a b a b a' has 4 runs of 4 words, 2 of them new; 好 six times has 3, 1 of them new."""
    assert repetition("a b a b a b a") == pytest.approx(2 / 4)
    assert repetition("好好好好好好") == pytest.approx(2 / 3)
    assert repetition("no four") == 0
    assert distinct(["a b", "a b", "a c"], 2) == pytest.approx(2 / 3)
    assert distinct(["你好", "你好"], 1) == pytest.approx(1 / 2)

"""Simple models beside a language model: what each can tell and what it cannot, in Chinese and English."""

import sys

import numpy as np
import pytest
import torch

from hanlin.base.records import Labelled, Scored, TaggedWords
from hanlin.records.loaded import Loaded
from hanlin.tasks.baselines import baselines
from hanlin.tasks.classify import Classify
from hanlin.tasks.regress import Regress
from hanlin.tasks.tag import Tag

FREQUENT, LINEAR, NETWORK = "most frequent class", "TF-IDF + logistic regression", "text-CNN"


def loaded(records):
    return Loaded(list(records), [f"#{n}" for n in range(len(records))], [{} for _ in records])


def found(task, train, test):
    task = task.begun(train)
    rows = baselines(task, loaded(train), loaded(test), resamples=100)
    return {row.name: {figure.name: figure.value for figure in row.figures} for row in rows}, rows


def reviews(good, bad, numbers):
    return [
        Labelled(text=text.format(n), labels=(label,))
        for n in numbers
        for text, label in ((good, "good"), (bad, "bad"))
    ]


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


@pytest.mark.parametrize(
    ("good", "bad"), [("film {} was wonderful", "film {} was dreadful"), ("电影{}真好看", "电影{}真糟糕")]
)
def test_what_words_tell_is_told_in_english_and_in_chinese(good, bad):
    train = [*reviews(good, bad, range(60)), Labelled(text=good.format(61), labels=("good",))]
    values, rows = found(Classify(), train, reviews(good, bad, range(60, 70)))
    assert {name: value["accuracy"] for name, value in values.items()} == {
        FREQUENT: 0.5,
        LINEAR: 1,
        NETWORK: 1,
    }
    assert values[FREQUENT]["roc_auc"] == 0.5
    assert rows[0].parameters == 2
    assert rows[1].parameters > 20
    assert all(row.seconds > 0 for row in rows[1:])


def test_several_labels_some_of_them_always_there():
    records = [
        Labelled(text=f"{colour} {animal} {n}", labels=("text", *((colour,) if colour == "red" else ()), animal))
        for n in range(12) for colour in ("red", "blue") for animal in ("cat", "dog")
    ]  # fmt: skip
    values, _ = found(Classify(multi_label=True), records, records[:8])
    assert values[LINEAR]["exact_match"] == 1
    assert values[FREQUENT]["exact_match"] == 0
    assert 0 < values[FREQUENT]["micro_f1"] < 1


def test_a_class_that_training_never_saw_has_no_probability():
    task = Classify(labels=("bad", "good", "odd"))
    values, _ = found(
        task, reviews("good {}", "bad {}", range(30)), [Labelled(text="good 7", labels=("odd",))]
    )
    assert values[LINEAR]["accuracy"] == 0


def test_pairs_are_told_by_what_they_share():
    def pairs(seed, count):
        random = np.random.default_rng(seed)
        words = [f"word{number}" for number in range(300)]
        for number in range(count):
            first = [str(word) for word in random.choice(words, 6)]
            second = (
                [*first[:5], str(random.choice(words))]
                if number % 2
                else [str(w) for w in random.choice(words, 6)]
            )
            yield Labelled(
                text=" ".join(first), pair=" ".join(second), labels=(("other", "same")[number % 2],)
            )

    values, rows = found(Classify(kind="pair"), list(pairs(0, 200)), list(pairs(1, 50)))
    assert values[LINEAR]["accuracy"] > 0.95
    assert [row.name for row in rows] == [FREQUENT, LINEAR]


def test_numbers():
    records = [Scored(text=f"{word} thing {n}", score=score) for n in range(30) for word, score in
               (("poor", 1.0), ("fair", 2.0), ("great", 5.0))]  # fmt: skip
    values, _ = found(Regress(), records, records[:12])
    assert values["mean"]["mae"] == pytest.approx(np.mean([5 / 3, 2 / 3, 7 / 3]), rel=1e-6)
    assert values["TF-IDF + ridge regression"]["spearman"] > 0.9


def test_they_are_the_same_each_time_and_leave_the_random_state_alone():
    records = reviews("good {}", "bad {}", range(10))
    state = torch.random.get_rng_state()
    first, _ = found(Classify(), records, records)
    second, _ = found(Classify(), records, records)
    assert first == second
    assert torch.equal(state, torch.random.get_rng_state())


def test_without_scikit_learn_it_is_left_out_and_said(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    records = reviews("good {}", "bad {}", range(10))
    values, _ = found(Classify(), records, records)
    assert list(values) == [FREQUENT, NETWORK]
    assert "hanlin[eval]" in capsys.readouterr().err


def test_other_kinds_of_tasks_have_none():
    records = [TaggedWords(words=("a", "b"), tags=("X", tag)) for tag in "XY"]
    assert baselines(Tag().begun(records), loaded(records), loaded(records)) == ()

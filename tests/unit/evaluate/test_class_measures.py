"""Measures of classes and label sets against scikit-learn, on all records and on any choice of them."""

import warnings

import numpy as np
import pytest

from hanlin.evaluate.classes import class_measures, confusion, label_set_measures, measures_by_class

LABELS = [f"class {number}" for number in range(6)]


def drawn(seed: int, labels: list[str], n: int = 200) -> tuple[list[str], list[str]]:
    """Truth of uneven classes, and predictions that are right about half of the time."""
    generator = np.random.default_rng(seed)
    shares = generator.dirichlet(np.ones(len(labels)))
    truth, guess = generator.choice(labels, n, p=shares), generator.choice(labels, n, p=shares)
    return truth.tolist(), np.where(generator.random(n) < 0.4, truth, guess).tolist()


@pytest.mark.parametrize("seed", range(4))
def test_one_class_each_equals_scikit_learn_on_any_choice_of_records(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    truth, said = drawn(seed, LABELS)
    measures = {one.name: one for one in class_measures(truth, said, LABELS)}
    assert set(measures) == {"accuracy", "macro_f1", "weighted_f1", "balanced_accuracy", "mcc"}
    for ids in (np.arange(200), np.random.default_rng(seed).integers(200, size=30), np.array([5, 5, 7])):
        true, one = [truth[i] for i in ids], [said[i] for i in ids]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn warns of classes that are only said
            expected = {
                "accuracy": metrics.accuracy_score(true, one),
                "macro_f1": metrics.f1_score(true, one, average="macro", zero_division=0),
                "weighted_f1": metrics.f1_score(true, one, average="weighted", zero_division=0),
                "balanced_accuracy": metrics.balanced_accuracy_score(true, one),
                "mcc": metrics.matthews_corrcoef(true, one),
            }
        assert {name: measure.of(ids) for name, measure in measures.items()} == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_of_two_classes_the_second_is_the_positive_one(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    labels = ["not spam", "spam"]
    truth, said = drawn(seed, labels, 50)
    measures = {one.name: one.value for one in class_measures(truth, said, labels)}
    for name, score in (("precision", "precision_score"), ("recall", "recall_score"), ("f1", "f1_score")):
        expected = getattr(metrics, score)(truth, said, pos_label="spam", zero_division=0)
        assert measures[name] == pytest.approx(expected)


def test_what_is_no_label_is_wrong_and_does_not_vanish() -> None:
    measures = {
        one.name: one.value
        for one in class_measures(["好", "好", "坏"], ["好", "不知道", "坏"], ["好", "坏"])
    }
    assert measures["accuracy"] == pytest.approx(2 / 3)
    assert measures["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    matrix = confusion(["好", "好", "坏"], ["好", "不知道", "坏"], ["好", "坏"])
    assert matrix.names == ("好", "坏", "不知道")
    assert matrix.counts_KK.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_confusion_equals_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    truth, said = drawn(9, LABELS)
    ours = confusion(truth, said, LABELS)
    assert ours.names == tuple(LABELS)
    assert ours.counts_KK.tolist() == metrics.confusion_matrix(truth, said, labels=LABELS).tolist()


def test_each_class_by_itself_equals_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    truth, said = drawn(3, LABELS)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        truth, said, labels=LABELS, zero_division=0
    )
    for number, (label, measures) in enumerate(measures_by_class(truth, said, LABELS).items()):
        assert label == LABELS[number]
        values = [one.value for one in measures]
        assert values == pytest.approx([f1[number], precision[number], recall[number]])


@pytest.mark.parametrize("seed", range(3))
def test_label_sets_equal_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(seed)
    true_NK = generator.random((80, 6)) < 0.3
    said_NK = np.where(generator.random((80, 6)) < 0.7, true_NK, generator.random((80, 6)) < 0.3)
    sets = [[{LABELS[k] for k in np.flatnonzero(row)} for row in one_NK] for one_NK in (true_NK, said_NK)]
    measures = {one.name: one for one in label_set_measures(*sets, LABELS)}
    for ids in (np.arange(80), generator.integers(80, size=40)):
        true, one = true_NK[ids], said_NK[ids]
        expected = {
            "micro_f1": metrics.f1_score(true, one, average="micro"),
            "macro_f1": metrics.f1_score(true, one, average="macro"),
            "micro_precision": metrics.precision_score(true, one, average="micro"),
            "micro_recall": metrics.recall_score(true, one, average="micro"),
            "exact_match": metrics.accuracy_score(true, one),
            "hamming_loss": metrics.hamming_loss(true, one),
        }
        assert {name: measure.of(ids) for name, measure in measures.items()} == pytest.approx(expected)
    assert measures["hamming_loss"].better == "lower"


def test_a_record_without_labels_that_is_left_alone_is_right() -> None:
    measures = {one.name: one.value for one in label_set_measures([[], ["a"]], [[], ["b"]], ["a", "b"])}
    assert (measures["exact_match"], measures["hamming_loss"], measures["micro_f1"]) == (0.5, 0.5, 0)

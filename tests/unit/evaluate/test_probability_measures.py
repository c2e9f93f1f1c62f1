"""Probabilities against scikit-learn, and by hand where it has no answer."""

import numpy as np
import pytest

from hanlin.evaluate.probabilities import label_set_probability_measures, probability_measures

LABELS = ["a", "b", "c", "d"]


def drawn(seed: int, classes: int, n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Truth, and probabilities that know something of it, rounded so that many are equal."""
    generator = np.random.default_rng(seed)
    truth_N = generator.integers(classes, size=n)
    p_NK = generator.random((n, classes)) + 0.7 * (truth_N[:, None] == np.arange(classes))
    p_NK = np.round(p_NK / p_NK.sum(axis=1, keepdims=True), 1) + 0.01
    return truth_N, p_NK / p_NK.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 4])
def test_one_class_each_equals_scikit_learn_on_any_choice_of_records(classes: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    truth_N, p_NK = drawn(classes, classes)
    labels = LABELS[:classes]
    measures = {one.name: one for one in probability_measures([labels[k] for k in truth_N], p_NK, labels)}
    for ids in (np.arange(120), np.random.default_rng(0).integers(120, size=90)):
        true, p = truth_N[ids], p_NK[ids]
        one_hot = true[:, None] == np.arange(classes)
        columns = range(classes) if classes > 2 else [1]
        expected = {
            "roc_auc": np.mean([metrics.roc_auc_score(one_hot[:, k], p[:, k]) for k in columns]),
            "pr_auc": np.mean([metrics.average_precision_score(one_hot[:, k], p[:, k]) for k in columns]),
            "log_loss": metrics.log_loss(true, p, labels=range(classes)),
            "brier": ((p - one_hot) ** 2).sum(axis=1).mean(),
        }
        found = {name: measures[name].of(ids) for name in expected}
        assert found == pytest.approx(expected)
    assert [measures[name].better for name in ("roc_auc", "log_loss", "brier", "ece")] == ["higher"] + [
        "lower"
    ] * 3


def test_several_labels_equal_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(2)
    true_NK = generator.random((60, 4)) < 0.4
    p_NK = np.clip(np.round(0.3 * true_NK + 0.7 * generator.random((60, 4)), 1), 0.01, 0.99)
    sets = [{LABELS[k] for k in np.flatnonzero(row)} for row in true_NK]
    values = {one.name: one.value for one in label_set_probability_measures(sets, p_NK, LABELS)}
    assert values == pytest.approx(
        {
            "roc_auc": metrics.roc_auc_score(true_NK, p_NK, average="macro"),
            "pr_auc": metrics.average_precision_score(true_NK, p_NK, average="macro"),
            "log_loss": np.mean([metrics.log_loss(true_NK[:, k], p_NK[:, k]) for k in range(4)]),
            "brier": np.mean([metrics.brier_score_loss(true_NK[:, k], p_NK[:, k]) for k in range(4)]),
        }
    )


def test_by_hand_with_a_tie() -> None:
    """Of the 2 x 2 pairs of a positive and a negative 2 are in order and 1 is tied: 2.5 / 4.

    From the top: 1 positive (precision 1), then a tie of both (2 of 3), then a negative.
    """
    p = np.array([0.9, 0.6, 0.6, 0.2])
    truth = ["yes", "yes", "no", "no"]
    values = {one.name: one.value for one in probability_measures(truth, np.c_[1 - p, p], ["no", "yes"])}
    assert values["roc_auc"] == pytest.approx(3.5 / 4)
    assert values["pr_auc"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert values["brier"] == pytest.approx(2 * np.mean([0.1**2, 0.4**2, 0.6**2, 0.2**2]))


def test_what_no_record_or_every_record_is_has_no_curve() -> None:
    measures = {
        one.name: one for one in probability_measures(["a", "a", "b"], np.eye(3)[[0, 1, 1]], ["a", "b", "c"])
    }
    assert measures["roc_auc"].value == pytest.approx((0.75 + 0.75) / 2)
    alone = np.array([0, 1])
    assert (measures["roc_auc"].of(alone), measures["pr_auc"].of(alone)) == (0.5, 0)


def test_a_truth_that_the_model_does_not_know_costs_and_does_not_break() -> None:
    measures = {
        one.name: one.value for one in probability_measures(["?", "a"], [[0.5, 0.5], [1, 0]], ["a", "b"])
    }
    assert measures["log_loss"] == pytest.approx(-np.log(1e-15) / 2)
    assert measures["brier"] == pytest.approx((0.25 + 0.25 + 1) / 2)

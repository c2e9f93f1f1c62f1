"""Ranked lists by hand and against scikit-learn."""

import numpy as np
import pytest

from hanlin.evaluate.ranked import by_score, ranking_measures, without_relevant

RELEVANT = [{"a": 2.0, "b": 1.0, "z": 0.0}, {"q": 1.0}, {}, {"x": 1.0}]
RANKED = [["z", "a", "c", "b"], ["p", "r"], ["a"], ["x"]]


def test_by_hand() -> None:
    """Of the three queries that have something relevant; the list of the second has none of it."""
    values = {one.name: one.value for one in ranking_measures(RELEVANT, RANKED, cutoffs=(1, 2, 100))}
    first_ndcg = (2 / np.log2(3) + 1 / np.log2(5)) / (2 + 1 / np.log2(3))
    assert values == pytest.approx(
        {
            "ndcg@10": (first_ndcg + 0 + 1) / 3,
            "mrr@10": (1 / 2 + 0 + 1) / 3,
            "map": ((1 / 2 + 2 / 4) / 2 + 0 + 1) / 3,
            "recall@1": (0 + 0 + 1) / 3,
            "recall@2": (1 / 2 + 0 + 1) / 3,
            "precision@1": (0 + 0 + 1) / 3,
            "precision@2": (1 / 2 + 0 + 1 / 2) / 3,
        }
    )
    assert without_relevant(RELEVANT) == 1


def test_queries_without_anything_relevant_count_in_no_resample() -> None:
    ndcg = ranking_measures(RELEVANT, RANKED)[0]
    assert ndcg.of(np.array([2, 3, 2])) == 1
    assert ndcg.of(np.array([2])) == 0
    assert ndcg.n == 4


def test_ndcg_and_average_precision_equal_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(0)
    for _ in range(10):
        gains, scores = generator.integers(0, 4, 25), generator.permutation(25)
        names = [str(place) for place in range(25)]
        ranked = by_score(dict(zip(names, scores.tolist(), strict=True)))
        relevant = dict(zip(names, gains.tolist(), strict=True))
        measured = {one.name: one.value for one in ranking_measures([relevant], [ranked])}
        assert measured["ndcg@10"] == pytest.approx(metrics.ndcg_score([gains], [scores], k=10))
        assert measured["map"] == pytest.approx(metrics.average_precision_score(gains > 0, scores))


def test_only_the_first_ten_count_and_a_document_counts_once() -> None:
    late = [[*"abcdefghij", "x"]]
    values = {one.name: one.value for one in ranking_measures([{"x": 1}], late)}
    assert (values["ndcg@10"], values["mrr@10"], values["recall@10"]) == (0, 0, 0)
    assert values["map"] == pytest.approx(1 / 11)
    twice = {one.name: one.value for one in ranking_measures([{"x": 1, "y": 1}], [["x", "x", "y"]])}
    assert twice["map"] == 1


def test_ties_do_not_depend_on_the_order_that_documents_came_in() -> None:
    assert by_score({"c": 1, "a": 1, "b": 2}) == by_score({"a": 1, "b": 2, "c": 1}) == ["b", "a", "c"]
    assert by_score({"c": 1, "a": 1, "b": 2}, most=1) == ["b"]

"""Folds: every record examined once, copies never on both sides, classes alike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.base.errors import ConfigError
from hanlin.batches.folds import folds, same_texts


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=4, max_size=60), st.integers(0, 5))
def test_every_record_is_examined_once_and_groups_stay_together(records, seed):
    labels, groups = (list(column) for column in zip(*records, strict=True))
    k = 2
    if len(set(groups)) < k:
        return
    parts = folds(labels, groups, k, seed)
    assert sorted(np.concatenate([part.test for part in parts]).tolist()) == list(range(len(labels)))
    for part in parts:
        assert sorted([*part.train, *part.test]) == list(range(len(labels)))
        assert not {groups[n] for n in part.train} & {groups[n] for n in part.test}
        assert len(part.test)


@pytest.mark.parametrize("k", [2, 5, 10])
def test_classes_have_their_share_in_every_fold(k):
    labels = [0] * 100 + [1] * 20 + [2] * k
    np.random.default_rng(0).shuffle(labels)
    for part in folds(labels, k=k):
        counts = np.bincount([labels[n] for n in part.test], minlength=3)
        np.testing.assert_allclose(counts, [100 / k, 20 / k, 1], atol=1)
        assert counts[2] == 1


def test_large_groups_leave_the_folds_about_as_large():
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), draw.integers(1, 9, 60))
    labels = draw.integers(2, size=60)[groups]
    sizes = [len(part.test) for part in folds(labels.tolist(), groups, 5)]
    assert max(sizes) - min(sizes) <= 8


def test_the_same_seed_gives_the_same_folds_and_another_others():
    labels = [0, 1] * 20
    first, again, other = (folds(labels, k=4, seed=seed) for seed in (0, 0, 1))
    assert all((a.test == b.test).all() for a, b in zip(first, again, strict=True))
    assert any(a.test.tolist() != b.test.tolist() for a, b in zip(first, other, strict=True))


def test_copies_have_one_number():
    texts = ["A  good film.", "a good Film. ", "学而时习之", "Ａ good film.", "other"]
    assert same_texts(texts).tolist() == [0, 0, 1, 0, 2]


@pytest.mark.parametrize(("groups", "k"), [([0, 0, 1], 3), ([0, 1, 2], 1)])
def test_too_few_records_are_refused(groups, k):
    with pytest.raises(ConfigError, match=f"into {k} folds"):
        folds([0, 1, 0], groups, k)

"""Masked language modelling hides what it should, at the published shares, and nothing else."""

import numpy as np
import pytest

from hanlin.batches.batch import IGNORE
from hanlin.batches.masking import Masking

SPECIAL = frozenset({0, 1, 2})  # [PAD] [CLS] [SEP]; 3 is [MASK]
MASKING = Masking(mask_id=3, vocab_size=1000, special_ids=SPECIAL | {3})


def row(T=128, padding=0, seed=7):
    tokens = np.random.default_rng(seed).integers(4, 1000, T)
    tokens[0], tokens[T - padding - 1] = 1, 2
    tokens[T - padding :] = 0
    return tokens


def hide(tokens, seeds, masking=MASKING):
    rows = [masking(tokens, np.random.default_rng(seed)) for seed in seeds]
    return np.stack([inputs for inputs, _ in rows]), np.stack([targets for _, targets in rows])


@pytest.mark.parametrize("share", [0.15, 0.4])
def test_the_published_shares(share):
    tokens = row(padding=10)
    masking = Masking(3, 1000, SPECIAL | {3}, share=share)
    inputs, targets = hide(tokens, range(400), masking)
    chosen = targets != IGNORE
    assert (chosen.sum(1) == round(share * 116)).all()  # 128 without padding, [CLS] and [SEP]
    said = np.broadcast_to(tokens, inputs.shape)[chosen]
    hidden, kept = inputs[chosen] == 3, inputs[chosen] == said
    assert hidden.mean() == pytest.approx(0.8, abs=0.02)
    assert kept.mean() == pytest.approx(0.1, abs=0.02)
    assert (~hidden & ~kept).mean() == pytest.approx(0.1, abs=0.02)


def test_places_stay_and_special_tokens_are_left_alone():
    tokens = row(padding=10)
    inputs, targets = hide(tokens, range(50))
    chosen = targets != IGNORE
    whole = np.broadcast_to(tokens, inputs.shape)
    assert (inputs[~chosen] == whole[~chosen]).all()
    assert (targets[chosen] == whole[chosen]).all()
    assert not np.isin(whole[chosen], list(SPECIAL)).any()
    assert not np.isin(inputs[chosen], list(SPECIAL)).any()


def test_the_seed_decides_and_each_place_is_chosen_as_often():
    _, targets = hide(row(), [*range(2000), 0])
    assert (targets[0] == targets[-1]).all()
    assert (targets[0] != targets[1]).any()
    often = (targets[:-1] != IGNORE).mean(0)[1:-1]
    assert often.min() > 0.15 - 0.04
    assert often.max() < 0.15 + 0.04


def test_a_short_row_has_one_prediction_and_an_empty_one_none():
    for tokens, expected in (([1, 50, 2], [IGNORE, 50, IGNORE]), ([1, 2, 0], [IGNORE] * 3)):
        _, targets = MASKING(np.array(tokens), np.random.default_rng(0))
        assert targets.tolist() == expected


def test_whole_words_are_hidden_together():
    words = np.array([0, 1, 1, 2, 3, 3, 3, 4, 4, 5])
    masking = Masking(3, 1000, SPECIAL | {3}, words=lambda ids: words)
    _, targets = hide(np.array([1, 10, 11, 12, 13, 14, 15, 16, 17, 2]), range(300), masking)
    seen = set()
    for flags in targets != IGNORE:
        chosen = set(words[flags])
        assert chosen == set(words[flags]) - set(words[~flags])
        seen |= chosen
    assert seen == {1, 2, 3, 4}


def test_shares_that_can_not_be_are_our_mistake():
    with pytest.raises(AssertionError):
        Masking(mask_id=3, vocab_size=10, special_ids=SPECIAL, hidden=0.9, replaced=0.2)

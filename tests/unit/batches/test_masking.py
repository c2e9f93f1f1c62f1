"""Masked language modelling hides what it should, at the published shares, and nothing else."""

import numpy as np
import pytest
import torch

from hanlin.batches.batch import IGNORE
from hanlin.batches.masking import Masking, word_numbers

SPECIAL = frozenset({0, 1, 2})  # [PAD] [CLS] [SEP]; 3 is [MASK]
MASKING = Masking(mask_id=3, vocab_size=1000, special_ids=SPECIAL | {3})


def rows(B=40, T=128):
    random = np.random.default_rng(7)
    tokens = torch.from_numpy(random.integers(4, 1000, (B, T)))
    tokens[:, 0], tokens[:, -1] = 1, 2
    tokens[: B // 2, -10:] = 0
    return tokens


def test_the_published_shares():
    tokens = rows(200)
    inputs, targets = MASKING(tokens, np.random.default_rng(0))
    chosen = targets != IGNORE
    able = ~torch.isin(tokens, torch.tensor(sorted(SPECIAL)))
    assert chosen.sum().item() / able.sum().item() == pytest.approx(0.15, abs=0.005)
    hidden, kept = inputs[chosen] == 3, inputs[chosen] == tokens[chosen]
    assert hidden.float().mean().item() == pytest.approx(0.8, abs=0.02)
    assert kept.float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert (~hidden & ~kept).float().mean().item() == pytest.approx(0.1, abs=0.02)


def test_places_stay_and_special_tokens_are_left_alone():
    tokens = rows()
    inputs, targets = MASKING(tokens, np.random.default_rng(0))
    chosen = targets != IGNORE
    assert inputs.shape == tokens.shape
    assert torch.equal(inputs[~chosen], tokens[~chosen])
    assert torch.equal(targets[chosen], tokens[chosen])
    assert not torch.isin(tokens[chosen], torch.tensor(sorted(SPECIAL))).any()
    assert not torch.isin(inputs[chosen], torch.tensor(sorted(SPECIAL))).any()


def test_the_seed_decides_and_each_epoch_chooses_anew():
    tokens, random = rows(), np.random.default_rng(5)
    first, second = MASKING(tokens, random)[1], MASKING(tokens, random)[1]
    again = MASKING(tokens, np.random.default_rng(5))[1]
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_a_short_row_has_one_prediction_and_an_empty_one_none():
    tokens = torch.tensor([[1, 50, 2], [1, 2, 0]])
    _, targets = MASKING(tokens, np.random.default_rng(0))
    assert targets.tolist() == [[IGNORE, 50, IGNORE], [IGNORE] * 3]


def test_whole_words_are_hidden_together():
    words = torch.tensor([[-1, 0, 0, 1, 2, 2, 2, 3, 3, -1]]).expand(300, -1)
    tokens = torch.tensor([[1, 10, 11, 12, 13, 14, 15, 16, 17, 2]]).expand(300, -1)
    _, targets = MASKING(tokens, np.random.default_rng(0), words)
    seen = set()
    for row in (targets != IGNORE).int().tolist():
        chosen = {number for number, flag in zip(words[0].tolist(), row, strict=True) if flag}
        assert [n for n, flag in zip(words[0].tolist(), row, strict=True) if n in chosen and not flag] == []
        seen |= chosen
    assert seen == {0, 1, 2, 3}


def test_word_numbers_of_chinese_and_english():
    text = "研究生命起源 of life"
    words = ["研究", "生命", "起源", " ", "of", " ", "life"]
    tokens = ["研", "究", "生", "命", "起", "源", "of", "li", "##fe"]
    offsets, place = [(0, 0)], 0
    for token in tokens:
        piece = token.removeprefix("##")
        place = text.index(piece, place)
        offsets.append((place, place + len(piece)))
        place += len(piece)
    assert word_numbers(offsets, words) == [-1, 0, 0, 1, 1, 2, 2, 4, 6, 6]


def test_shares_that_can_not_be_are_our_mistake():
    with pytest.raises(AssertionError):
        Masking(mask_id=3, vocab_size=10, special_ids=SPECIAL, hidden=0.9, replaced=0.2)

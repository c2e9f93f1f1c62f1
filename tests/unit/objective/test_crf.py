"""Linear-chain CRF against the sum over all sequences, in both layouts; what cannot be has no probability; it learns."""

import itertools
import math

import numpy as np
import pytest
import torch

from finetuning import examined, gradients, learn, same, tiny
from hanlin.batches.batch import IGNORE
from hanlin.batches.bio import bio_tags, first_invalid
from hanlin.batches.loader import Examples
from hanlin.batches.ragged import lay_batch
from hanlin.objective.crf import (
    FORBIDDEN,
    CrfTagging,
    best_sequence,
    forbidden_transitions,
    log_normalizer,
    marginals,
    sequence_score,
    transitions_of,
)

NAMES = bio_tags(["X"])
K = 3


def drawn(length=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(length, K, generator=generator), torch.randn(K + 1, K + 1, generator=generator)


def by_hand(scores_LK, transitions_JJ, tags):
    path = [K, *tags, K]
    steps = sum(float(transitions_JJ[a, b]) for a, b in itertools.pairwise(path))
    return steps + sum(float(scores_LK[place, tag]) for place, tag in enumerate(tags))


def every(length):
    return list(itertools.product(range(K), repeat=length))


@pytest.mark.parametrize("forbidding", [False, True])
def test_all_sequences_by_hand(forbidding):
    for length in (1, 2, 4):
        scores_LK, transitions_JJ = drawn(length)
        if forbidding:
            transitions_JJ = transitions_JJ + forbidden_transitions(NAMES)
        said = {tags: by_hand(scores_LK, transitions_JJ, tags) for tags in every(length)}
        total = math.log(sum(math.exp(score) for score in said.values()))
        real_BL = torch.ones(1, length, dtype=torch.bool)
        assert float(log_normalizer(scores_LK[None], transitions_JJ, real_BL)) == pytest.approx(
            total, abs=1e-5
        )
        for tags, score in said.items():
            given = sequence_score(scores_LK[None], transitions_JJ, torch.tensor([tags]))
            assert float(given) == pytest.approx(score, rel=1e-6, abs=1e-5)
        assert tuple(best_sequence(scores_LK, transitions_JJ)) == max(said, key=said.get)
        chances_LK = marginals(scores_LK, transitions_JJ)
        for place, tag in itertools.product(range(length), range(K)):
            chance = sum(math.exp(score - total) for tags, score in said.items() if tags[place] == tag)
            assert float(chances_LK[place, tag]) == pytest.approx(chance, abs=1e-5)
        if forbidding:
            valid = [tags for tags in said if first_invalid([NAMES[tag] for tag in tags]) is None]
            over_valid = math.log(sum(math.exp(said[tags]) for tags in valid))
            assert total == over_valid
            assert tuple(best_sequence(scores_LK, transitions_JJ)) in valid


def test_padding_changes_nothing():
    (long_LK, transitions_JJ), (short_LK, _) = drawn(5), drawn(2, 1)
    scores_BLK = torch.nn.utils.rnn.pad_sequence([long_LK, short_LK], batch_first=True, padding_value=7.0)
    tags_BL = torch.tensor([[0, 1, 2, 0, 1], [2, 1, IGNORE, IGNORE, IGNORE]])
    whole = (
        log_normalizer(scores_BLK, transitions_JJ, tags_BL != IGNORE),
        sequence_score(scores_BLK, transitions_JJ, tags_BL),
    )
    for row, scores_LK in enumerate((long_LK, short_LK)):
        real_1L = torch.ones(1, len(scores_LK), dtype=torch.bool)
        torch.testing.assert_close(whole[0][row], log_normalizer(scores_LK[None], transitions_JJ, real_1L)[0])
        alone = sequence_score(scores_LK[None], transitions_JJ, tags_BL[row : row + 1, : len(scores_LK)])
        torch.testing.assert_close(whole[1][row], alone[0])


def test_what_cannot_be():
    table = forbidden_transitions(NAMES)  # O, B-X, I-X, border
    assert (table == FORBIDDEN).nonzero().tolist() == [[0, 2], [3, 2]]
    assert not forbidden_transitions(["NOUN", "ADJ"]).any()
    ends = forbidden_transitions(bio_tags(["X"], ends=True))  # O, B, I, E, S, border
    assert (ends[:, 5] == FORBIDDEN).nonzero().flatten().tolist() == [1, 2]
    assert (ends[5] == FORBIDDEN).nonzero().flatten().tolist() == [2, 3]


class Rows(Examples):
    """Token ids below 8 form spans: the tag of a token hangs on itself and on the one before; 3 is no tag."""

    def __init__(self, count, layout="packed"):
        draw = np.random.default_rng(0)
        self.texts = [draw.integers(3, 14, draw.integers(2, 9)).tolist() for _ in range(count)]
        self.targets = [self._tags(text) for text in self.texts]
        self.layout = layout

    @staticmethod
    def _tags(text):
        tags, inside = [], False
        for token in text:
            tags.append(IGNORE if token == 3 else 0 if token >= 8 else 2 if inside else 1)
            inside = inside if token == 3 else token < 8
        return tags

    def __len__(self):
        return len(self.texts)

    def batch(self, rows, seeds):
        return lay_batch([self.texts[r] for r in rows], [self.targets[r] for r in rows], self.layout, 0)


def crf(**settings):
    return tiny(head="tag", label_names=NAMES, crf=True, **settings)


def test_padded_packed_and_split_are_one():
    model = crf()
    padded, packed = (Rows(7, layout).batch(np.arange(7), []) for layout in ("padded", "packed"))
    whole = gradients(model, CrfTagging(), [padded])
    assert whole[1]["transitions.weight"].abs().sum() > 0
    same(whole, gradients(model, CrfTagging(), [packed]))
    same(whole, gradients(model, CrfTagging(), packed.split(2)))


def test_the_loss_is_minus_the_probability_of_the_tags():
    model, batch = crf(), lay_batch([[5, 6, 3, 9]], [[1, 2, IGNORE, 0]], "padded", 0)
    scores_LK = model(batch.tokens_BT)[0, [0, 1, 3]].detach()
    transitions_JJ = transitions_of(model).detach()
    total = math.log(sum(math.exp(by_hand(scores_LK, transitions_JJ, tags)) for tags in every(3)))
    expected = total - by_hand(scores_LK, transitions_JJ, (1, 2, 0))
    assert float(CrfTagging().loss(model, batch).detach()) == pytest.approx(expected, abs=1e-5)
    assert CrfTagging().count(batch) == 3


def test_texts_without_tags_add_nothing():
    model, batch = crf(), lay_batch([[5, 6]], [[IGNORE, IGNORE]], "padded", 0)
    loss = CrfTagging().loss(model, batch)
    loss.backward()
    assert (CrfTagging().count(batch), float(loss.detach())) == (0, 0.0)
    assert not model.transitions.weight.grad.any()


def test_in_bfloat16_the_loss_stays_float32():
    model, batch = crf(), Rows(6).batch(np.arange(6), [])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = CrfTagging().loss(model, batch)
        transitions_JJ = transitions_of(model)
    assert (loss.dtype, transitions_JJ.dtype) == (torch.float32, torch.float32)
    exact = float(CrfTagging().loss(model, batch).detach())
    assert float(loss.detach()) == pytest.approx(exact, rel=0.05)


def test_it_learns_and_says_valid_spans():
    model = crf(far=False, layers=1)
    learn(model, CrfTagging(), Rows(160), steps=70, rows=16, rate=1e-2)
    said = examined(model, CrfTagging(), Rows(200).batch(np.arange(160, 200), []))
    assert said["accuracy"] > 0.95
    assert said["f1"] > 0.9

"""Pairs of sentences: adjacent or not, half and half, whole, and the same for the same seed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hanlin.base.errors import ConfigError, DataError
from hanlin.batches.batch import IGNORE
from hanlin.batches.masking import Masking
from hanlin.batches.sentence_pairs import DOES_NOT, FOLLOWS, PairRows, Sentences
from teaching import SPECIAL

V = 60_000


def corpus(documents=60, seed=0, longest=14):
    """A stream whose ids say where they stand: document x 200 + place, 100 on; and where sentences begin."""
    random, stream, starts = np.random.default_rng(seed), [], []
    for number in range(documents):
        stream.append(SPECIAL.end)
        place = 100 + number * 200
        for length in random.integers(3, 9, int(random.integers(1, longest))):
            starts.append(len(stream))
            stream += range(place, place + length)
            place += int(length)
    return Sentences(np.array([*stream, SPECIAL.end], np.uint16), np.array(starts, np.int64), SPECIAL.end)


def rows_of(sentences, length=35, question="next-sentence"):
    masking = Masking(SPECIAL.mask, V, SPECIAL.all)
    return PairRows(sentences, length, SPECIAL, masking, question)


def pairs(examples, epoch=0):
    """(first, second, answer) of every row as they were before tokens were hidden."""
    seeds = [(0, epoch, row) for row in range(len(examples))]
    batch = examples.batch(np.arange(len(examples)), seeds)
    whole = torch.where(batch.targets_BT == IGNORE, batch.tokens_BT, batch.targets_BT)
    found = []
    for ids, segments, documents, answer in zip(
        whole, batch.segments_BT, batch.documents_BT, batch.answers_B.tolist(), strict=True
    ):
        real = documents == 0
        assert (ids[~real] == SPECIAL.pad).all()
        first, second = ids[real & (segments == 0)].tolist(), ids[real & (segments == 1)].tolist()
        assert (first[0], first[-1], second[-1]) == (SPECIAL.cls, SPECIAL.sep, SPECIAL.sep)
        found.append((first[1:-1], second[:-1], answer))
    return found


def test_positives_are_adjacent_and_negatives_come_from_another_document():
    sentences = corpus()
    starts = set(sentences.tokens[sentences.starts_S].tolist())
    for epoch in range(3):
        for first, second, answer in pairs(rows_of(sentences), epoch):
            assert len(first) + len(second) <= 32
            assert first
            assert second
            assert second[0] in starts  # whole sentences from here on
            same = (first[0] - 100) // 200 == (second[0] - 100) // 200
            assert same == (answer == FOLLOWS)
            for side in (first, second):
                assert side == list(range(side[0], side[-1] + 1))
            if answer == FOLLOWS:
                assert second[0] == first[-1] + 1


def test_in_sentence_order_the_two_have_changed_places_or_not():
    for first, second, answer in pairs(rows_of(corpus(), question="sentence-order")):
        earlier, later = (first, second) if answer == FOLLOWS else (second, first)
        assert (earlier[0] - 100) // 200 == (later[-1] - 100) // 200
        assert earlier[0] < later[0]


@pytest.mark.parametrize("question", ["next-sentence", "sentence-order"])
def test_half_of_the_pairs_are_in_place(question):
    answers = [answer for _, _, answer in pairs(rows_of(corpus(300), question=question))]
    assert len(answers) > 400
    assert np.mean(answers) == pytest.approx(0.5, abs=0.07)
    assert set(answers) == {FOLLOWS, DOES_NOT}


def test_every_sentence_with_a_neighbour_is_in_a_row_and_other_epochs_cut_otherwise():
    sentences = corpus()
    examples = rows_of(sentences, length=600, question="sentence-order")
    seen = {id for first, second, _ in pairs(examples) for id in (*first, *second)}
    with_neighbours = {
        id
        for document, first in enumerate(sentences.first_D.tolist())
        if sentences.end(document) - first > 1
        for id in sentences.ids(first, sentences.end(document)).tolist()
    }
    assert seen == with_neighbours
    assert pairs(examples) == pairs(examples)
    assert pairs(examples) != pairs(examples, epoch=1)


def test_a_row_does_not_depend_on_its_batch():
    examples = rows_of(corpus())
    whole = examples.batch(np.arange(9), [(0, 0, row) for row in range(9)])
    for row in range(9):
        alone = examples.batch(np.array([row]), [(0, 0, row)])
        T = alone.tokens_BT.shape[1]
        for name in ("tokens_BT", "targets_BT", "segments_BT", "documents_BT"):
            assert torch.equal(getattr(alone, name)[0], getattr(whole, name)[row, :T])
        assert (whole.documents_BT[row, T:] == -1).all()
        assert alone.answers_B[0] == whole.answers_B[row]


def test_tokens_are_hidden_in_both():
    batch = rows_of(corpus()).batch(np.arange(40), [(0, 0, row) for row in range(40)])
    chosen = batch.targets_BT != IGNORE
    assert chosen[batch.segments_BT == 0].any()
    assert chosen[batch.segments_BT == 1].any()
    assert not chosen[batch.documents_BT == -1].any()
    assert (batch.tokens_BT[chosen] == SPECIAL.mask).float().mean() > 0.6


def test_too_little_is_said():
    one = corpus(1, seed=3)
    with pytest.raises(DataError, match="at least two documents"):
        rows_of(one)
    assert len(rows_of(one, question="sentence-order")) > 0
    lonely = replace(corpus(), starts_S=corpus().starts_S[corpus().first_D])
    with pytest.raises(DataError, match="one with two sentences"):
        rows_of(lonely, question="sentence-order")
    with pytest.raises(ConfigError, match="too short for a pair"):
        rows_of(corpus(), length=6)

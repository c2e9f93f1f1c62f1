import numpy as np
import pytest

from hanlin.base.errors import DataError
from hanlin.batches.sentence_pairs import sentence_pairs


def corpus(documents=60, seed=0):
    """Token ids that say where they stand: document x 10,000 + place."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(documents):
        lengths, place, sentences = random.integers(3, 9, int(random.integers(2, 14))), 0, []
        for length in lengths:
            sentences.append([number * 10_000 + place + i for i in range(length)])
            place += int(length)
        made.append(sentences)
    return made


def test_positives_are_adjacent_and_negatives_come_from_another_document():
    pairs = list(sentence_pairs(corpus(), 32, np.random.default_rng(1)))
    for pair in pairs:
        assert len(pair.first) + len(pair.second) <= 32
        assert pair.first
        assert pair.second
        same = pair.first[0] // 10_000 == pair.second[0] // 10_000
        assert same == pair.follows
        if pair.follows:
            assert pair.second[0] - pair.first[-1] >= 1  # tokens cut from the end of the first leave a gap
            assert pair.second == list(range(pair.second[0], pair.second[-1] + 1))
    uncut = [p for p in pairs if p.follows and len(p.first) + len(p.second) < 32]
    assert uncut
    assert all(p.second[0] == p.first[-1] + 1 for p in uncut)


def test_half_of_the_pairs_follow():
    pairs = list(sentence_pairs(corpus(900), 32, np.random.default_rng(1)))
    assert len(pairs) > 1500
    assert np.mean([pair.follows for pair in pairs]) == pytest.approx(0.5, abs=0.05)


def test_the_seed_decides():
    first, again, other = (
        list(sentence_pairs(corpus(), 32, np.random.default_rng(seed))) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_sentences_are_not_changed():
    documents = corpus()
    before = [[list(sentence) for sentence in document] for document in documents]
    list(sentence_pairs(documents, 8, np.random.default_rng(0)))
    assert documents == before


def test_one_document_has_no_negatives():
    with pytest.raises(DataError) as caught:
        list(sentence_pairs([[[1, 2], [3]], []], 8, np.random.default_rng(0)))
    assert "at least two documents" in caught.value.problem.en

"""BM25 by hand, in both languages."""

import math

import pytest

from hanlin.evaluate.lexical import Bm25

pytest.importorskip("sklearn")


def test_by_hand():
    documents = ["The cat sat.", "the dog, the dog", "翰林院"]
    scores = Bm25(documents, k1=1.2, b=0.75).scores(["cat", "THE dog", "翰", "cow"])
    mean = (3 + 4 + 3) / 3

    def part(count, length, having):
        idf = math.log(1 + (3 - having + 0.5) / (having + 0.5))
        return idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / mean))

    assert scores[0] == pytest.approx([part(1, 3, 1), 0, 0])
    assert scores[1] == pytest.approx([part(1, 3, 2), part(2, 4, 2) + part(2, 4, 1), 0])
    assert scores[2] == pytest.approx([0, 0, part(1, 3, 1)])
    assert not scores[3].any()


def test_a_word_twice_in_the_query_counts_twice():
    once, twice = Bm25(["a cat", "a dog"]).scores(["cat", "cat cat"])
    assert twice == pytest.approx(2 * once)
    assert once[0] > 0

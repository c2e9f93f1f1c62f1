"""The Kneser-Ney model against a known answer, a slow reference as the equations read, and the laws."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.model.classical.ngram import FALLBACK_DISCOUNTS, NGramModel

PROSE = """The first rung of the ladder is a model that only counts. It reads the text once, and remembers
which word came after which. The first time it sees a word after another word it is surprised, and the
second time it is less surprised. A model that only counts cannot know that a cat and a dog are both animals,
that what came after the cat may come after the dog, or that the word at the begin of the page has to do with
the word at the end of the page. But it is fast, it is exact, and it is what a larger model has to beat before
anyone should believe that the larger model has learned anything at all.
翰林院中，先读书，再应试，然后任事，而后继续学习。先读书的人，未必先应试。"""


def documents_of(text: str, sentences: str = ".。") -> list[np.ndarray]:
    """Bytes as tokens 1..256, one document a sentence, 0 at its end."""
    for mark in sentences:
        text = text.replace(mark, "\0")
    return [np.array([b + 1 for b in s.encode()] + [0]) for s in text.split("\0") if s.strip()]


class Reference:
    """Interpolated modified Kneser-Ney as Chen & Goodman write it: dictionaries and recursion."""

    def __init__(self, documents: list[np.ndarray], vocab_size: int, order: int) -> None:
        self.vocab_size, self.order, self.begin = vocab_size, order, -1
        raw: dict[int, Counter[tuple[int, ...]]] = defaultdict(Counter)
        for document in documents:
            tokens = [self.begin, *document.tolist()]
            for n in range(1, order + 1):
                for start in range(len(tokens) - n + 1):
                    raw[n][tuple(tokens[start : start + n])] += 1
        self.count: dict[int, dict[tuple[int, ...], int]] = {order: dict(raw[order])}
        for n in range(1, order):
            before: dict[tuple[int, ...], set[int]] = defaultdict(set)
            for gram in raw[n + 1]:
                before[gram[1:]].add(gram[0])
            self.count[n] = {g: c if g[0] == self.begin else len(before[g]) for g, c in raw[n].items()}
        self.count[1].pop((self.begin,), None)
        self.discount = {n: self._discounts(list(self.count[n].values())) for n in self.count}
        self.next: dict[tuple[int, ...], list[tuple[int, int]]] = defaultdict(list)
        for n in self.count:
            for gram, count in self.count[n].items():
                self.next[gram[:-1]].append((gram[-1], count))

    @staticmethod
    def _discounts(counts: list[int]) -> tuple[float, ...]:
        t = [counts.count(k) for k in range(5)]
        if 0 in t[1:4]:
            return FALLBACK_DISCOUNTS
        y = t[1] / (t[1] + 2 * t[2])
        d = (1 - 2 * y * t[2] / t[1], 2 - 3 * y * t[3] / t[2], 3 - 4 * y * t[4] / t[3])
        return d if all(0 < x <= k for k, x in enumerate(d, 1)) else FALLBACK_DISCOUNTS

    def p(self, word: int, context: tuple[int, ...]) -> float:
        lower = 1 / self.vocab_size if not context else self.p(word, context[1:])
        if context and context not in self.next:
            return lower
        d = self.discount[len(context) + 1]
        total = sum(c for _, c in self.next[context])
        gamma = sum(d[min(c, 3) - 1] for _, c in self.next[context]) / total
        count = self.count[len(context) + 1].get((*context, word), 0)
        return max(count - (d[min(count, 3) - 1] if count else 0), 0) / total + gamma * lower

    def logprobs(self, document: np.ndarray) -> np.ndarray:
        tokens = [self.begin, *document.tolist()]
        return np.array(
            [
                math.log(self.p(tokens[i], tuple(tokens[max(0, i - self.order + 1) : i])))
                for i in range(1, len(tokens))
            ]
        )


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_equals_a_reference_written_as_the_equations_read(order: int) -> None:
    documents = documents_of(PROSE)
    train, held_out = documents[:-2], documents[-2:]
    model, reference = NGramModel.train(train, 257, order, eos_id=0), Reference(train, 257, order)
    assert order == 1 or any(level.estimated for level in model.levels)
    for n, level in enumerate(model.levels, 1):
        assert level.discounts == pytest.approx(reference.discount[n], abs=1e-12)
    for document in [*held_out, train[0], np.array([0]), np.array([200, 3, 200])]:
        np.testing.assert_allclose(model.logprobs(document), reference.logprobs(document), rtol=0, atol=1e-9)


def test_known_answer_by_hand() -> None:
    """Documents "a b eos" and "a c eos", V = 5 (eos a b c d), order 2, discounts 0.5, 1, 1.5 (few counts).

    Bigrams: <s>a 2, ab 1, ac 1, b eos 1, c eos 1. Continuation counts of the unigrams: a 1 (after <s>), b 1,
    c 1, eos 2 (after b and c); together 5. gamma() = (3 * 0.5 + 1 * 1) / 5 = 0.5, so
    p(a) = 0.5/5 + 0.5/5 = 0.2, p(b) = p(c) = 0.2, p(eos) = (2-1)/5 + 0.1 = 0.3, p(d) = 0.1: together 1.
    """
    eos, a, b, c, d = range(5)
    model = NGramModel.train([np.array([a, b, eos]), np.array([a, c])], 5, 2, eos_id=eos)
    assert model.tokens == 6
    # p(a | <s>) = (2 - 1)/2 + (1/2) 0.2;  p(b | a) = 0.5/2 + (1/2) 0.2;  p(eos | b) = 0.5/1 + 0.5 * 0.3
    np.testing.assert_allclose(np.exp(model.logprobs(np.array([a, b, eos]))), [0.6, 0.35, 0.65], atol=1e-12)
    # p(d | <s>) = (1/2) 0.1;  p(d | d) and p(a | d): d was never a context, so the unigrams answer.
    np.testing.assert_allclose(np.exp(model.logprobs(np.array([d, d, a]))), [0.05, 0.1, 0.2], atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    documents=st.lists(st.lists(st.integers(1, 5), max_size=12), max_size=8),
    context=st.lists(st.integers(0, 6), max_size=5),
    order=st.integers(1, 4),
)
def test_probabilities_sum_to_one_in_any_context(
    documents: list[list[int]], context: list[int], order: int
) -> None:
    """Seen contexts, unseen ones, contexts of a token (6) that training never saw, begins of documents."""
    model = NGramModel.train([np.array(d, dtype=np.uint16) for d in documents], 7, order, eos_id=0)
    p_V = [np.exp(model.logprobs(np.array([*context, word]))[-1]) for word in range(7)]
    assert sum(p_V) == pytest.approx(1, abs=1e-12)
    assert min(p_V) > 0


def test_longer_contexts_predict_real_text_better() -> None:
    documents = documents_of(PROSE * 4 + PROSE[::-1], sentences=",")
    train, held_out = documents[1:], documents[0]
    means = [NGramModel.train(train, 257, order, eos_id=0).logprobs(held_out).mean() for order in (1, 2, 3)]
    assert means[0] < means[1] < means[2]


def test_no_text_gives_the_uniform_model() -> None:
    model = NGramModel.train([], 1000, 3, eos_id=0)
    np.testing.assert_allclose(model.logprobs(np.array([5, 999, 0])), -math.log(1000), rtol=1e-14)


def test_no_ngram_crosses_documents_and_eos_is_added_where_missing() -> None:
    closed = NGramModel.train([np.array([1, 2, 0]), np.array([3, 0])], 4, 3, eos_id=0)
    opened = NGramModel.train([np.array([1, 2]), np.array([3])], 4, 3, eos_id=0)
    probe = np.array([1, 2, 3, 0])
    np.testing.assert_array_equal(closed.logprobs(probe), opened.logprobs(probe))
    assert len(closed.levels[1].key_G) == 5  # <s>1, 12, 2eos, <s>3, 3eos: not 23, not eos3
    assert len(closed.levels[2].key_G) == 3


def test_ids_outside_the_vocabulary_are_refused() -> None:
    model = NGramModel.train([np.array([1, 0])], 4, 2, eos_id=0)
    for wrong in ([4], [-1]):
        with pytest.raises(AssertionError, match=r"0\.\.3"):
            model.logprobs(np.array(wrong))
        with pytest.raises(AssertionError, match=r"0\.\.3"):
            NGramModel.train([np.array(wrong)], 4, 2, eos_id=0)


def test_an_empty_document_has_no_logprobs() -> None:
    assert NGramModel.train([np.array([1, 0])], 4, 2, eos_id=0).logprobs(np.zeros(0, np.int64)).shape == (0,)

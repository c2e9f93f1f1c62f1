"""Word2Vec and GloVe: gradients against autograd, formulas by hand, and structure that must be found again."""

import itertools
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hanlin.model.classical.adagrad import RowAdaGrad
from hanlin.model.classical.glove import (
    GloVeConfig,
    Tables,
    count_cooccurrences,
    glove_gradient,
    pair_weight,
    train_glove,
)
from hanlin.model.classical.text_windows import stream_of
from hanlin.model.classical.word2vec import (
    Gradient,
    Word2VecConfig,
    cbow_gradient,
    keep_probability,
    noise_distribution,
    skip_gram_gradient,
    train_word2vec,
)
from hanlin.model.classical.words import index_words

Documents = list[NDArray[np.int64]]


def dense(shape: torch.Size, rows_N: Tensor, values_NC: Tensor) -> Tensor:
    return torch.zeros(shape).index_add_(0, rows_N, values_NC)


def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Words with all, some and none of their neighbours there; noise that hits neighbours and words."""
    words_B = torch.tensor([1, 2, 3, 1])
    near_BW = torch.tensor([[2, 3], [1, 1], [5, 6], [4, 2]])
    there_BW = torch.tensor([[True, True], [True, False], [False, False], [False, True]])
    return words_B, near_BW, there_BW, torch.tensor([0, 2, 2, 5, 1])


def check_gradient(found: Gradient, loss: Tensor, inputs: Tensor, outputs: Tensor) -> None:
    assert found.loss == pytest.approx(float(loss.detach()), rel=1e-5)
    d_inputs, d_outputs = torch.autograd.grad(loss, (inputs, outputs))
    torch.testing.assert_close(dense(inputs.shape, found.input_rows_N, found.input_NC), d_inputs)
    torch.testing.assert_close(dense(outputs.shape, found.output_rows_N, found.output_NC), d_outputs)


def tables() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(7, 4, generator=generator, requires_grad=True) for _ in range(2))  # type: ignore[return-value]


def test_skip_gram_gradient_is_that_of_the_formula() -> None:
    inputs, outputs = tables()
    words_B, near_BW, there_BW, noise_M = batch()
    loss = torch.zeros(())
    for word, near, there in zip(words_B, near_BW, there_BW, strict=True):
        for neighbour in near[there]:
            loss = loss - F.logsigmoid(inputs[word] @ outputs[neighbour])
            for noise in noise_M[noise_M != neighbour]:
                loss = loss - 0.4 * F.logsigmoid(-inputs[word] @ outputs[noise])
    found = skip_gram_gradient(inputs.detach(), outputs.detach(), words_B, near_BW, there_BW, noise_M, 0.4)
    check_gradient(found, loss, inputs, outputs)


def test_cbow_gradient_is_that_of_the_formula() -> None:
    inputs, outputs = tables()
    words_B, near_BW, there_BW, noise_M = batch()
    loss = torch.zeros(())
    for word, near, there in zip(words_B, near_BW, there_BW, strict=True):
        if there.any():
            h = inputs[near[there]].mean(dim=0)
            loss = loss - F.logsigmoid(h @ outputs[word])
            for noise in noise_M[noise_M != word]:
                loss = loss - 0.4 * F.logsigmoid(-h @ outputs[noise])
    found = cbow_gradient(inputs.detach(), outputs.detach(), words_B, near_BW, there_BW, noise_M, 0.4)
    check_gradient(found, loss, inputs, outputs)


def test_glove_gradient_is_that_of_equation_8() -> None:
    generator = torch.Generator().manual_seed(0)
    leaves = [torch.randn(s, generator=generator, requires_grad=True) for s in ((6, 3), (6, 3), (6,), (6,))]
    row, column, log_count = torch.tensor([0, 2, 2]), torch.tensor([5, 1, 0]), torch.tensor([0.5, 2.0, -1.0])
    weight = torch.tensor([1.0, 0.3, 0.1])
    w, other, b, other_b = leaves
    error = (w[row] * other[column]).sum(1) + b[row] + other_b[column] - log_count
    loss = (weight * error.square()).sum()
    value, found = glove_gradient(Tables(*(leaf.detach() for leaf in leaves)), row, column, log_count, weight)
    assert value == pytest.approx(float(loss.detach()), rel=1e-5)
    expected = torch.autograd.grad(loss, leaves)
    for table, rows, gradient, right in zip(leaves, (row, column) * 2, found, expected, strict=True):
        torch.testing.assert_close(dense(table.shape, rows, gradient), right)


def test_the_weight_of_a_pair_by_hand() -> None:
    counts = np.array([1.0, 16.0, 100.0, 1e6])
    np.testing.assert_allclose(pair_weight(counts, 100, 0.75), [100**-0.75, 0.16**0.75, 1, 1])
    np.testing.assert_allclose(pair_weight(counts, 16, 0.5), [0.25, 1, 1, 1])


def test_cooccurrences_are_what_counting_pair_by_pair_gives() -> None:
    documents = [np.array([1, 2, 1, 3, 3]), np.array([2]), np.array([3, 1, 2, 2])]
    counts: dict[tuple[int, int], float] = defaultdict(float)
    for document in documents:
        for i, j in itertools.permutations(range(len(document)), 2):
            if abs(i - j) <= 2:
                counts[int(document[i]), int(document[j])] += 1 / abs(i - j)
    found = count_cooccurrences(documents, 4, 2)
    pairs = zip(found.row_P.tolist(), found.column_P.tolist(), strict=True)
    assert dict(zip(pairs, found.count_P.tolist(), strict=True)) == pytest.approx(dict(counts))


def test_noise_and_subsampling_by_hand() -> None:
    count_V = np.array([16, 1, 0, 81])
    np.testing.assert_allclose(noise_distribution(count_V), np.array([8, 1, 0, 27]) / 36)
    # 0.81 of all words: kept with probability sqrt(0.01 / 0.81); a share of 0.01 or less is always kept.
    kept = keep_probability(np.array([81, 18, 1, 0]), 0.01)
    np.testing.assert_allclose(kept, [1 / 9, np.sqrt(0.01 / 0.18), 1, 1])


def test_neighbours_stay_within_reach_and_document() -> None:
    stream = stream_of([np.array([1, 2, 3]), np.array([4, 5])])
    near_NW, there_NW = stream.neighbours(np.arange(5), np.array([1, 2, 2, 2, 1]), 2)
    found = [near[there].tolist() for near, there in zip(near_NW, there_NW, strict=True)]
    assert found == [[2], [1, 3], [1, 2], [5], [4]]


def test_adagrad_sums_equal_rows_and_divides_by_the_history() -> None:
    table = torch.zeros(3, 2)
    step = RowAdaGrad(table, 0.1)
    step.update(torch.tensor([1, 1]), torch.tensor([[1.0, 2.0], [3.0, -4.0]]))
    torch.testing.assert_close(table, torch.tensor([[0, 0], [-0.1, 0.1], [0, 0]]))  # 4 / |4|, -2 / |-2|
    step.update(torch.tensor([1]), torch.tensor([[3.0, 0.0]]))
    torch.testing.assert_close(table[1], torch.tensor([-0.1 - 0.1 * 3 / 5, 0.1]))


GROUPS, SIZE = 4, 6


def grouped_text() -> Documents:
    """Sentences of 8 words of one group of six; a seventh, common word stands everywhere. Ids 0..23, 24; 25 never."""
    generator = np.random.default_rng(1)
    documents = []
    for _ in range(1500):
        group = generator.integers(GROUPS)
        words = generator.integers(group * SIZE, (group + 1) * SIZE, 8)
        words[generator.random(8) < 0.3] = GROUPS * SIZE
        documents.append(words)
    return documents


def separation(vectors_VC: NDArray[np.float32]) -> float:
    """How many words have all five of their group as their nearest five."""
    words = GROUPS * SIZE
    units = vectors_VC[:words] / np.linalg.norm(vectors_VC[:words], axis=1, keepdims=True)
    cosine = units @ units.T - 2 * np.eye(words)
    nearest = np.argsort(-cosine, axis=1)[:, : SIZE - 1]
    return float((nearest // SIZE == np.arange(words)[:, None] // SIZE).all(axis=1).mean())


@pytest.mark.parametrize("method", ["skip-gram", "cbow", "glove"])
def test_words_of_like_company_find_each_other(method: str) -> None:
    documents = grouped_text()
    if method == "glove":
        vectors_VC = train_glove(documents, 26, GloVeConfig(width=16, reach=4, epochs=15, x_max=20))
    else:
        config = Word2VecConfig.model_validate(
            {"method": method, "width": 16, "reach": 3, "subsample": 1, "epochs": 6, "batch_words": 256}
        )
        vectors_VC = train_word2vec(documents, 26, config)
    assert separation(vectors_VC) == 1
    assert separation(np.random.default_rng(0).normal(size=(26, 16)).astype(np.float32)) < 0.2
    assert np.isnan(vectors_VC[25]).all()
    assert np.isfinite(vectors_VC[:25]).all()


def test_the_same_seed_gives_the_same_vectors() -> None:
    documents = grouped_text()[:100]
    config = Word2VecConfig(width=8, epochs=1)
    first, again = (train_word2vec(documents, 26, config) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = train_word2vec(documents, 26, config.model_copy(update={"seed": 1}))
    assert not np.array_equal(first[:25], other[:25])


@pytest.mark.parametrize("documents", [[], [np.zeros(0, np.int64)], [np.array([3])]])
def test_texts_without_a_pair_teach_nothing_and_break_nothing(documents: Documents) -> None:
    known = Counter(int(word) for document in documents for word in document)
    for vectors_VC in (
        train_word2vec(documents, 5, Word2VecConfig(width=4)),
        train_glove(documents, 5, GloVeConfig(width=4)),
    ):
        assert vectors_VC.shape == (5, 4)
        assert np.isnan(vectors_VC[[word for word in range(5) if word not in known]]).all()


def test_words_are_numbered_by_frequency_and_rare_ones_left_out() -> None:
    found = index_words([["b", "a", "b"], ["a", "c", "b"]], least=2)
    assert found.words == ("b", "a")
    assert [document.tolist() for document in found.documents] == [[0, 1, 0], [1, 0]]

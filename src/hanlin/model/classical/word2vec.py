"""Word2Vec: vectors of words from the words around them, by negative sampling.

Sources: Mikolov et al. 2013, arXiv 1301.3781 (skip-gram and CBOW) and arXiv 1310.4546 (negative sampling, eq. 4;
subsampling, eq. 5; noise from the unigram counts to the power 3/4, section 2.2). One set of noise words serves a
whole batch (Ji et al. 2016, arXiv 1604.04661), weighted so that the expected gradient stays that of eq. 4: the
products become matrix products, which is where the speed comes from.

Shape suffixes: B places of a batch, W neighbours of a place, M noise words, C width, V vocabulary, N places in all.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from hanlin.base.config import Settings
from hanlin.base.progress import track
from hanlin.model.classical.adagrad import RowAdaGrad
from hanlin.model.classical.text_windows import Ids, Stream, stream_of


class Word2VecConfig(Settings):
    """How vectors are learned; the defaults are those of the papers but for the optimizer's rate and the batch."""

    method: Literal["skip-gram", "cbow"] = "skip-gram"
    """Predict the neighbours from the word, or the word from the mean of its neighbours."""
    width: int = Field(100, ge=1)
    """Length of a vector."""
    reach: int = Field(5, ge=1)
    """Most neighbours on each side; each place draws its own number from 1 to this."""
    negatives: int = Field(5, ge=1)
    """Noise words that each true pair is told from."""
    subsample: float = Field(1e-3, gt=0)
    """t of eq. 5: a word of relative frequency f is left out with probability 1 - sqrt(t / f)."""
    epochs: int = Field(5, ge=1)
    """Passes over the text."""
    learning_rate: float = Field(0.05, gt=0)
    """Rate of AdaGrad, falling linearly to nearly 0."""
    batch_words: int = Field(2048, ge=1)
    """Places taken at once."""
    batch_noise: int = Field(256, ge=1)
    """Noise words drawn for each batch."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of first values, subsampling, reaches, order and noise."""


@dataclass(frozen=True)
class Gradient:
    """Loss in nats, summed; and what it asks of rows of the two tables."""

    loss: float
    input_rows_N: Tensor
    input_NC: Tensor
    output_rows_N: Tensor
    output_NC: Tensor


def train_word2vec(
    documents: Iterable[NDArray[np.integer]], vocab_size: int, config: Word2VecConfig, title: str = ""
) -> NDArray[np.float32]:
    """Vectors (V, C) of the ids 0 .. V-1; NaN for an id that never occurs.

    Windows stay within documents. With a `title`, progress is shown. float32 on the CPU; the same documents and
    settings give the same vectors.
    """
    stream = stream_of(documents)
    count_V = np.bincount(stream.ids_N, minlength=vocab_size)
    generator = np.random.default_rng(config.seed)
    first_VC = (generator.random((vocab_size, config.width), np.float32) - 0.5) / config.width
    inputs_VC, outputs_VC = torch.from_numpy(first_VC), torch.zeros(vocab_size, config.width)
    inputs, outputs = (RowAdaGrad(table, config.learning_rate) for table in (inputs_VC, outputs_VC))
    noise_V = noise_distribution(count_V)
    gradient_of = skip_gram_gradient if config.method == "skip-gram" else cbow_gradient
    total = config.epochs * max(1, len(stream.ids_N))
    batches = _batches(stream, count_V, config, generator)
    for done, words_B, near_BW, there_BW in track(batches, title) if title else batches:
        inputs.learning_rate = outputs.learning_rate = config.learning_rate * max(1e-4, 1 - done / total)
        noise_M = torch.from_numpy(generator.choice(vocab_size, config.batch_noise, p=noise_V))
        found = gradient_of(
            inputs_VC, outputs_VC, words_B, near_BW, there_BW, noise_M, config.negatives / config.batch_noise
        )
        inputs.update(found.input_rows_N, found.input_NC)
        outputs.update(found.output_rows_N, found.output_NC)
    inputs_VC[torch.from_numpy(count_V == 0)] = torch.nan
    return inputs_VC.numpy()


def noise_distribution(count_V: Ids) -> NDArray[np.float64]:
    """P(noise = w), proportional to count(w)^(3/4)."""
    weight_V = count_V.astype(np.float64) ** 0.75
    total: float = weight_V.sum()
    return weight_V / total if total else np.full(len(count_V), 1 / len(count_V))


def keep_probability(count_V: Ids, subsample: float) -> NDArray[np.float64]:
    """min(1, sqrt(t / f(w))): how likely an occurrence of each word stays (1 - eq. 5); 1 for words that never occur."""
    frequency_V = count_V / max(1, count_V.sum())
    keep_V = np.ones(len(count_V))
    np.divide(subsample, frequency_V, out=keep_V, where=count_V > 0)
    return np.minimum(1, np.sqrt(keep_V))


def _batches(
    stream: Stream, count_V: Ids, config: Word2VecConfig, generator: np.random.Generator
) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """(words done before, words_B, near_BW, there_BW) over all epochs, each subsampled and shuffled anew."""
    keep_N = keep_probability(count_V, config.subsample)[stream.ids_N]
    for epoch in range(config.epochs):
        kept = stream.kept(generator.random(len(keep_N)) < keep_N)
        order = generator.permutation(len(kept.ids_N))
        for start in range(0, len(order), config.batch_words):
            places_B = order[start : start + config.batch_words]
            reach_B = generator.integers(1, config.reach, len(places_B), endpoint=True)
            near_BW, there_BW = kept.neighbours(places_B, reach_B, config.reach)
            done = int(len(stream.ids_N) * (epoch + start / len(order)))
            words_B = torch.from_numpy(kept.ids_N[places_B])
            yield done, words_B, torch.from_numpy(near_BW), torch.from_numpy(there_BW)


def skip_gram_gradient(
    inputs_VC: Tensor,
    outputs_VC: Tensor,
    words_B: Tensor,
    near_BW: Tensor,
    there_BW: Tensor,
    noise_M: Tensor,
    noise_weight: float,
) -> Gradient:
    """Eq. 4 for each pair of a word and a neighbour: - log s(u_near . v) - weight sum_M log s(- u_noise . v).

    s is the logistic function. A noise word that is the neighbour itself is left out of that pair.
    """
    v_BC, near_BWC, noise_MC = inputs_VC[words_B], outputs_VC[near_BW], outputs_VC[noise_M]
    true_BW = torch.einsum("bc,bwc->bw", v_BC, near_BWC)
    false_BM = v_BC @ noise_MC.T
    # For each noise word, how many neighbours of the place it has to be told from.
    hits_BM = torch.zeros_like(false_BM)
    for w in range(near_BW.shape[1]):
        hits_BM += (near_BW[:, w, None] == noise_M) & there_BW[:, w, None]
    pairs_BM = noise_weight * (there_BW.sum(dim=1, keepdim=True) - hits_BM)
    loss = -(F.logsigmoid(true_BW) * there_BW).sum() - (F.logsigmoid(-false_BM) * pairs_BM).sum()
    d_true_BW = (true_BW.sigmoid() - 1) * there_BW
    d_false_BM = false_BM.sigmoid() * pairs_BM
    d_v_BC = torch.einsum("bw,bwc->bc", d_true_BW, near_BWC) + d_false_BM @ noise_MC
    d_near_NC = (d_true_BW[..., None] * v_BC[:, None])[there_BW]
    return Gradient(
        float(loss),
        words_B,
        d_v_BC,
        torch.cat([near_BW[there_BW], noise_M]),
        torch.cat([d_near_NC, d_false_BM.T @ v_BC]),
    )


def cbow_gradient(
    inputs_VC: Tensor,
    outputs_VC: Tensor,
    words_B: Tensor,
    near_BW: Tensor,
    there_BW: Tensor,
    noise_M: Tensor,
    noise_weight: float,
) -> Gradient:
    """- log s(u_word . h) - weight sum_M log s(- u_noise . h), where h is the mean of the neighbours' vectors.

    A noise word that is the word itself is left out; a word without neighbours asks for nothing.
    """
    number_B1 = there_BW.sum(dim=1, keepdim=True)
    share_BW = there_BW / number_B1.clamp_min(1)
    h_BC = torch.einsum("bw,bwc->bc", share_BW, inputs_VC[near_BW])
    word_BC, noise_MC = outputs_VC[words_B], outputs_VC[noise_M]
    any_B = (number_B1[:, 0] > 0).float()
    true_B, false_BM = (h_BC * word_BC).sum(dim=1), h_BC @ noise_MC.T
    weight_BM = noise_weight * any_B[:, None] * (words_B[:, None] != noise_M)
    loss = -(F.logsigmoid(true_B) * any_B).sum() - (F.logsigmoid(-false_BM) * weight_BM).sum()
    d_true_B1 = ((true_B.sigmoid() - 1) * any_B)[:, None]
    d_false_BM = false_BM.sigmoid() * weight_BM
    d_h_BC = d_true_B1 * word_BC + d_false_BM @ noise_MC
    d_near_NC = (share_BW[..., None] * d_h_BC[:, None])[there_BW]
    return Gradient(
        float(loss),
        near_BW[there_BW],
        d_near_NC,
        torch.cat([words_B, noise_M]),
        torch.cat([d_true_B1 * h_BC, d_false_BM.T @ h_BC]),
    )

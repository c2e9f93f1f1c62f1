"""How surprised a model is by text: perplexity, bits per byte, bits per character.

With N counted tokens x_1 .. x_N, each predicted from what stands before it in its document,

    NLL            = - sum_i ln P(x_i | before)                  in nats
    perplexity     = exp(NLL / N)                                (Jelinek et al. 1977)
    bits per byte  = NLL / ln 2 / UTF-8 bytes of the text        (Gao et al. 2020, arXiv 2101.00027, 3.1)

The token that ends a document is predicted like any other: its NLL counts in all three figures and it
counts as a token, but it has no bytes and no characters. Perplexity depends on how the tokenizer cuts the
text, so it compares only models that share one; bits per byte compares all.

Shape suffixes: D documents, T tokens of one document.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hanlin.base.errors import DataError, TrainingError
from hanlin.base.language import Text

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]

ROUNDING = 1e-5
"""A log-probability may exceed 0 by this much before it is an error: float32 rounds."""


class Scorer(Protocol):
    """Anything that gives a probability to each token of a document."""

    def __call__(self, documents: Sequence[Ids], /) -> list[Floats]:
        """ln P(x_t | x_<t) for each token of each document: ids_T -> float64 of shape T, in the same order.

        A document is its tokens and the token that ends it; each is scored by itself, from its begin.
        """


@dataclass(frozen=True)
class HeldOut:
    """A document kept away from training: its text, and its token ids without begin or end token."""

    text: str
    ids: Sequence[int] | NDArray[np.integer]


@dataclass(frozen=True)
class Scores:
    """What a model makes of each document: nll_D in nats; tokens_D (ends included), bytes_D, characters_D."""

    nll_D: Floats
    tokens_D: Ids
    bytes_D: Ids
    characters_D: Ids

    @property
    def perplexity(self) -> float:
        """exp of the mean NLL of a token; infinite where that is too large for a float."""
        mean = self.nll_D.sum() / self.tokens_D.sum()
        return math.exp(mean) if mean < 700 else math.inf

    @property
    def bits_per_byte(self) -> float:
        """Bits that the model would need for each UTF-8 byte of the text."""
        return float(self.nll_D.sum() / math.log(2) / self.bytes_D.sum())

    @property
    def bits_per_character(self) -> float:
        """Bits that the model would need for each character (Unicode code point) of the text."""
        return float(self.nll_D.sum() / math.log(2) / self.characters_D.sum())


def score(scorer: Scorer, documents: Sequence[HeldOut], eos_id: int) -> Scores:
    """Score every document once, each followed by `eos_id`.

    Raises `DataError` if there is no text at all, and `TrainingError` if a log-probability is not a finite
    number or stands for a probability above 1.
    """
    if not any(document.text for document in documents):
        raise DataError(
            Text("There is no text to examine.", "没有可供评测的文本。"),
            Text(
                "Give the held-out split a larger share in `corpus:`, or add documents.",
                "请在 `corpus:` 中增大留出数据集的比例，或增加文档。",
            ),
        )
    closed = [np.append(np.asarray(document.ids, dtype=np.int64), eos_id) for document in documents]
    scored = scorer(closed)
    assert len(scored) == len(closed)
    for ids_T, log_p_T in zip(closed, scored, strict=True):
        _check(ids_T, log_p_T)
    return Scores(
        nll_D=np.array([-log_p_T.sum(dtype=np.float64) for log_p_T in scored]),
        tokens_D=np.array([len(ids_T) for ids_T in closed], dtype=np.int64),
        bytes_D=np.array([len(document.text.encode()) for document in documents], dtype=np.int64),
        characters_D=np.array([len(document.text) for document in documents], dtype=np.int64),
    )


def uniform(vocab_size: int) -> Scorer:
    """The model that knows nothing: every token has probability 1 / V. Its perplexity is V."""

    def scorer(documents: Sequence[Ids], /) -> list[Floats]:
        return [np.full(len(ids_T), -math.log(vocab_size)) for ids_T in documents]

    return scorer


def _check(ids_T: Ids, log_p_T: Floats) -> None:
    assert log_p_T.shape == ids_T.shape
    wrong_T = ~np.isfinite(log_p_T) | (log_p_T > ROUNDING)
    if wrong_T.any():
        place = int(wrong_T.argmax())
        value = float(log_p_T[place])
        raise TrainingError(
            Text(
                f"The model gives token {ids_T[place]} at position {place} the log-probability {value}.",
                f"模型给位置 {place} 处的词元 {ids_T[place]} 的对数概率是 {value}。",
            ),
            Text(
                "Its weights are damaged or its training diverged: take an earlier checkpoint, "
                "or train again with a lower learning rate.",
                "模型权重已损坏或训练已发散：请改用更早的检查点，或以更低的学习率重新训练。",
            ),
        )

"""The examination: the model, the n-gram model and no knowledge at all, on the same held-out documents."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hanlin.base.progress import track
from hanlin.evaluate.bootstrap import bits_per_byte_interval, difference_interval
from hanlin.evaluate.config import EvaluateConfig
from hanlin.evaluate.perplexity import HeldOut, Scorer, Scores, score, uniform
from hanlin.evaluate.results import Difference, Examination, Figures
from hanlin.evaluate.scorers import ngram_scorer
from hanlin.model.classical.ngram import NGramModel

TRANSFORMER, NGRAM, UNIFORM = "transformer", "n-gram", "uniform"
"""Names of the models in the results."""


@dataclass(frozen=True)
class TrainedNGram:
    """An n-gram model, the id that ends a document, the tokens of its split and the seconds it took."""

    model: NGramModel
    eos_id: int
    tokens_in_split: int
    seconds: float


def train_ngram(
    documents: Iterable[NDArray[np.integer]], vocab_size: int, eos_id: int, config: EvaluateConfig
) -> TrainedNGram:
    """Train the n-gram model on the documents of the training split (ids without begin or end token).

    It counts whole documents, from the first on, until `config.ngram_max_tokens`.
    """
    start = time.perf_counter()
    in_split = 0

    def capped() -> Iterator[NDArray[np.integer]]:
        nonlocal in_split
        for document in track(documents, "count n-grams"):
            if in_split < config.ngram_max_tokens:
                yield document
            in_split += len(document) + 1

    model = NGramModel.train(capped(), vocab_size, config.ngram_order, eos_id=eos_id)
    return TrainedNGram(model, eos_id, in_split, time.perf_counter() - start)


def examine(
    scorer: Scorer, ngram: TrainedNGram, documents: Sequence[HeldOut], config: EvaluateConfig
) -> Examination:
    """Score the model behind `scorer`, the n-gram model and the uniform model on `documents`.

    The n-gram model must come from the same tokenizer and from the split that the model was trained on.
    Where the caps of `config` leave documents out, those examined are drawn at random. Raises `DataError` if
    there is no text, and `TrainingError` if a model gives something that is not a probability.
    """
    chosen = choose_documents(documents, config)
    scorers = {
        TRANSFORMER: scorer,
        NGRAM: ngram_scorer(ngram.model),
        UNIFORM: uniform(ngram.model.vocab_size),
    }
    scores: dict[str, Scores] = {}
    figures: dict[str, Figures] = {}
    for name, one in scorers.items():
        start = time.perf_counter()
        scores[name] = score(one, chosen, ngram.eos_id)
        figures[name] = figures_of(scores[name], time.perf_counter() - start, config)
    some = scores[TRANSFORMER]
    return Examination(
        split=config.split,
        documents=len(chosen),
        documents_in_split=len(documents),
        tokens=int(some.tokens_D.sum()),
        bytes=int(some.bytes_D.sum()),
        characters=int(some.characters_D.sum()),
        ngram_order=ngram.model.order,
        ngram_tokens=ngram.model.tokens,
        ngram_tokens_in_split=ngram.tokens_in_split,
        ngram_seconds=ngram.seconds,
        models=figures,
        differences=(_difference(TRANSFORMER, NGRAM, scores, config),),
    )


def figures_of(scores: Scores, seconds: float, config: EvaluateConfig) -> Figures:
    """The figures of one model; `seconds` is how long scoring took."""
    return Figures(
        bits_per_byte=scores.bits_per_byte,
        bits_per_byte_interval=bits_per_byte_interval(scores, config.resamples, config.seed),
        bits_per_character=scores.bits_per_character,
        perplexity=scores.perplexity,
        seconds=seconds,
    )


def _difference(first: str, second: str, scores: dict[str, Scores], config: EvaluateConfig) -> Difference:
    return Difference(
        first=first,
        second=second,
        bits_per_byte=scores[first].bits_per_byte - scores[second].bits_per_byte,
        interval=difference_interval(scores[first], scores[second], config.resamples, config.seed),
    )


def choose_documents(documents: Sequence[HeldOut], config: EvaluateConfig) -> list[HeldOut]:
    """At most `max_documents` documents of together at most `max_bytes` (but one), drawn, in their order."""
    taken: list[int] = []
    size = 0
    for index in np.random.default_rng(config.seed).permutation(len(documents)).tolist():
        size += len(documents[index].text.encode())
        over = config.max_bytes is not None and size > config.max_bytes
        if taken and (over or len(taken) == config.max_documents):
            break
        taken.append(index)
    return [documents[index] for index in sorted(taken)]

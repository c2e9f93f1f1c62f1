"""Scorers: the Decoder and the n-gram model, as `perplexity.score` takes them."""

from collections.abc import Sequence

import numpy as np

from hanlin.base.device import Compute
from hanlin.evaluate.perplexity import Floats, Ids, Scorer
from hanlin.generate.scoring import token_log_probabilities
from hanlin.model.classical.ngram import NGramModel
from hanlin.model.decoder import Decoder


def ngram_scorer(model: NGramModel) -> Scorer:
    """The n-gram model as a scorer; the begin of a document is a context of its own."""

    def scorer(documents: Sequence[Ids], /) -> list[Floats]:
        return [model.logprobs(ids_T) for ids_T in documents]

    return scorer


def decoder_scorer(model: Decoder, compute: Compute, begin_id: int) -> Scorer:
    """The Decoder as a scorer. `begin_id` stands before the first token of every document, as in training."""

    def scorer(documents: Sequence[Ids], /) -> list[Floats]:
        texts = [np.concatenate(([begin_id], np.asarray(ids))).astype(np.int64) for ids in documents]
        return token_log_probabilities(model, texts, compute, title="examine")

    return scorer

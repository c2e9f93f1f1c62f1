"""Scorers: every kind of language model, statistical, neural or pretrained, as `perplexity.score` takes them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hanlin.base.device import Compute
from hanlin.evaluate.perplexity import Floats, Ids, Scorer
from hanlin.generate.scoring import token_log_probabilities
from hanlin.model.causal import CausalModel
from hanlin.model.classical.ngram import NGramModel
from hanlin.tokenizer.tokenizer import Tokenizer


def ngram_scorer(model: NGramModel) -> Scorer:
    """The n-gram model as a scorer; the begin of a document is a context of its own."""

    def scorer(documents: Sequence[Ids], /) -> list[Floats]:
        return [model.logprobs(ids_T) for ids_T in documents]

    return scorer


def decoder_scorer(model: CausalModel, compute: Compute, begin_id: int) -> Scorer:
    """A Decoder, or a classical network, as a scorer. `begin_id` stands before the first token of every document, as in training."""

    def scorer(documents: Sequence[Ids], /) -> list[Floats]:
        texts = [np.concatenate(([begin_id], np.asarray(ids))).astype(np.int64) for ids in documents]
        return token_log_probabilities(model, texts, compute, title="examine")

    return scorer


@dataclass(frozen=True)
class ScoredText:
    """Any language model behind a scorer, asked as `hanlin.load(...)` is: counted, neural and pretrained alike."""

    tokenizer: Tokenizer
    scorer: Scorer

    def logprob(self, text: str) -> float:
        """ln P(text), in nats: the sum over its tokens of ln P(x_t | begin, x_<t); the end of the text does not count."""
        ids_T = np.array(self.tokenizer.encode(text), np.int64)
        (log_p_T,) = self.scorer([ids_T])
        return float(log_p_T.sum())

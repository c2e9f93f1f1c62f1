"""Prompt learning: L = - sum_i log q(y_i | text i), q(k) = softmax over classes k of log P(word of k | template, text).

The words of the classes (the verbaliser) carry what the language model knows, so that few labels are needed, or none.
Source: arXiv 2001.07676, section 3.1, whose softmax over logits is the same for words of one token.

B records, K classes, M tokens of a word, R rows of a record, T time, C width, N counted tokens of words.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hanlin.batches.batch import IGNORE
from hanlin.batches.prompted import PromptedBatch
from hanlin.model.cache import KeyValueCache
from hanlin.model.headed import Headed
from hanlin.model.heads import OVER_VOCABULARY
from hanlin.objective.cross_entropy import chunk_rows
from hanlin.objective.judged import headed
from hanlin.objective.term import Objective, Ratio


class PromptChoice(Objective):
    """Classes by the likelihood of their words, trained through the language model's own head.

    normalized: whether log-likelihoods are divided by the number of tokens, so that long words are not behind (arXiv
    2005.14165, section 2.4). Of a masked model the tokens of a word are judged apart, all hidden at once. Raises
    `ConfigError` for a model without an output over the vocabulary.
    """

    def __init__(self, normalized: bool = False) -> None:
        self.normalized = normalized

    def count(self, batch: PromptedBatch) -> int:
        """Number of records that have a class."""
        return int((batch.labels_B != IGNORE).sum())

    def loss(self, model: nn.Module, batch: PromptedBatch) -> Tensor:
        """Cross-entropy over the classes, summed over records that count, in float32 nats."""
        return _loss(self.scores(model, batch), batch.labels_B)

    def examine(self, model: nn.Module, batch: PromptedBatch) -> Mapping[str, Ratio]:
        """The loss, and how often the word of the right class is the likeliest."""
        scores_BK, count = self.scores(model, batch), self.count(batch)
        right = float((scores_BK.argmax(1) == batch.labels_B).sum())
        return {"loss": (float(_loss(scores_BK, batch.labels_B)), count), "accuracy": (right, count)}

    def scores(self, model: nn.Module, batch: PromptedBatch, before: KeyValueCache | None = None) -> Tensor:
        """log P(word of class k | record b), in nats: (B, K), float32. Without training: zero-shot classification.

        before: one row, which is what every row of the batch goes on from (of a causal model); it stays as it is.
        """
        model = headed(model, *OVER_VOCABULARY)
        documents_BRT, counted_BKM = batch.documents_BRT, batch.words_BKM != IGNORE
        tokens_RT = batch.tokens_BRT.flatten(0, 1)  # R of all records
        if before is not None:  # padding is on the right, where no token before it sees it
            rows_R = torch.zeros(len(tokens_RT), dtype=torch.long, device=tokens_RT.device)
            cache = before.chosen(rows_R).lengthened(before.capacity + tokens_RT.shape[1])
            hidden_RTC = model.hidden(tokens_RT, cache=cache)
        else:
            documents_RT = None if documents_BRT is None else documents_BRT.flatten(0, 1)
            hidden_RTC = model.hidden(tokens_RT, documents_BT=documents_RT)
        record_N, places = counted_BKM.nonzero()[:, 0], batch.tokens_BRT[0].numel()
        hidden_NC = hidden_RTC.flatten(0, 1)[record_N * places + batch.spots_BKM[counted_BKM]]
        log_p_N = _log_probabilities(model, hidden_NC, batch.words_BKM[counted_BKM])
        log_p_BKM = log_p_N.new_zeros(counted_BKM.shape).masked_scatter(counted_BKM, log_p_N)
        scores_BK = log_p_BKM.sum(2)
        return scores_BK / counted_BKM.sum(2) if self.normalized else scores_BK


def _loss(scores_BK: Tensor, labels_B: Tensor) -> Tensor:
    return F.cross_entropy(scores_BK, labels_B, ignore_index=IGNORE, reduction="sum")


def _log_probabilities(model: Headed, hidden_NC: Tensor, words_N: Tensor) -> Tensor:
    """log P of each token, in chunks, so that no more logits stand in memory than `cross_entropy.py` allows."""

    def log_p(hidden_nC: Tensor, words_n: Tensor) -> Tensor:
        return -F.cross_entropy(model.logits(hidden_nC), words_n, reduction="none")

    rows = chunk_rows(len(words_N), model.config.vocab_size, hidden_NC.device)
    chunks = zip(torch.split(hidden_NC, rows), torch.split(words_N, rows), strict=True)
    parts: list[Tensor] = [checkpoint(log_p, *chunk, use_reentrant=False) for chunk in chunks]
    return torch.cat(parts)

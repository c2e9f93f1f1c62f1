"""What a model forgot of language while it learned a task: bits per byte of other texts, by its parent and by itself.

A decoder reads them from left to right; of an encoder with a masked head each token is hidden in turn (`masked`), which
compares with nothing but itself. Where the task has put another head on the body, the parent's head is asked about the
new body's states: how far the body has moved from what that head can read. A head that learned again might read more.
How a model does now on an earlier task says `hanlin compare`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from hanlin.base.language import Text
from hanlin.batches.batch import IGNORE, Batch
from hanlin.evaluate.bootstrap import ratio_interval
from hanlin.evaluate.perplexity import Floats, HeldOut, Ids, score
from hanlin.evaluate.pseudo_perplexity import pseudo_scores
from hanlin.evaluate.scorers import decoder_scorer
from hanlin.evaluate.task_results import Forgetting
from hanlin.model.causal import Shape
from hanlin.model.encoder import Encoder
from hanlin.model.headed import Headed
from hanlin.model.heads import OVER_VOCABULARY
from hanlin.tasks.opened import Opened
from hanlin.tasks.plain_texts import PLAIN_TEXTS
from hanlin.tokenizer.special import SpecialIds
from hanlin.tokenizer.tokenizer import Tokenizer


@dataclass
class Reader:
    """A body and the head over the vocabulary that reads it: what scoring asks of a language model."""

    body: Headed
    head: Headed
    training: bool = False

    @property
    def config(self) -> Shape:
        """The head's settings."""
        return self.head.config

    def hidden(
        self, tokens_BT: Tensor, positions_BT: Tensor | None = None, documents_BT: Tensor | None = None
    ) -> Tensor:
        """Last hidden states of the body: (B, T, C)."""
        return self.body.hidden(tokens_BT, positions_BT, documents_BT)

    def logits(self, hidden_BTC: Tensor) -> Tensor:
        """What the head makes of them: (..., V), float32."""
        return self.head.logits(hidden_BTC)

    def __call__(
        self, tokens_BT: Tensor, positions_BT: Tensor | None = None, documents_BT: Tensor | None = None
    ) -> Tensor:
        """Logits at each position: (B, T, V)."""
        return self.logits(self.hidden(tokens_BT, positions_BT, documents_BT))


def examine_forgetting(
    parent: Opened,
    child: Opened,
    texts: Mapping[Text, Sequence[str]] = PLAIN_TEXTS,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[list[Forgetting], list[Text]]:
    """Before and after for each group of texts, by default a small sample of our own in English and one in Chinese.

    Nothing, and why, of a parent without a head over the vocabulary. A soft prompt does not stand before the texts: it
    leaves the model as it was.
    """
    before, after = parent.model, child.model
    if not isinstance(before, Headed) or before.config.head not in OVER_VOCABULARY:
        return [], [_NO_HEAD]
    assert isinstance(after, Headed)
    masked = before.config.assembly == "encoder"
    if masked and parent.tokenizer.mask_id is None:
        return [], [_NO_HEAD]
    readers = (
        Reader(before, before),
        Reader(after, after if after.config.head in OVER_VOCABULARY else before),
    )
    return [
        _compared(name, list(documents), readers, parent, masked, resamples, seed)
        for name, documents in texts.items()
    ], []


def _compared(
    name: Text,
    documents: list[str],
    readers: tuple[Reader, Reader],
    opened: Opened,
    masked: bool,
    resamples: int,
    seed: int,
) -> Forgetting:
    nll = _hidden_in_turn if masked else _from_left_to_right
    before_D, after_D = (nll(reader, documents, opened) / math.log(2) for reader in readers)
    bytes_D: Ids = np.array([len(text.encode()) for text in documents], np.int64)
    interval = ratio_interval(after_D - before_D, bytes_D, resamples, seed)
    return Forgetting(
        name=name,
        documents=len(documents),
        bytes=int(bytes_D.sum()),
        before=float(before_D.sum() / bytes_D.sum()),
        after=float(after_D.sum() / bytes_D.sum()),
        low=interval and interval.low,
        high=interval and interval.high,
        masked=masked,
    )


def _from_left_to_right(reader: Reader, documents: list[str], opened: Opened) -> Floats:
    """Nats of each document, (D,)."""
    tokenizer = opened.tokenizer
    begin_id = tokenizer.eos_id if tokenizer.bos_id is None else tokenizer.bos_id
    held_out = [HeldOut(text, tokenizer.encode(text)) for text in documents]
    return score(decoder_scorer(reader, opened.compute, begin_id), held_out, tokenizer.eos_id).nll_D


def _hidden_in_turn(reader: Reader, documents: list[str], opened: Opened) -> Floats:
    """Nats of each document, (D,), a token hidden at a time; what is longer than the window is cut."""
    tokenizer, window = opened.tokenizer, opened.model.config.window
    nll = list[float]()
    for text in documents:
        ids_1T = torch.tensor([tokenizer.encode_single(text, window).ids])
        rows = Batch(ids_1T, torch.full_like(ids_1T, IGNORE))
        scores = pseudo_scores(cast(Encoder, reader), rows, _special(tokenizer), opened.compute)
        nll.append(float(scores.nll_B.sum()))
    return np.array(nll)


def _special(tokenizer: Tokenizer) -> SpecialIds:
    return SpecialIds(
        end=tokenizer.eos_id,
        pad=tokenizer.pad_id,
        cls=None,
        sep=None,
        mask=tokenizer.mask_id,
        sentinels=(),
        all=frozenset(tokenizer.special_ids),
    )


_NO_HEAD = Text(
    "Forgetting was not measured: the parent model gives no probability to text.",
    "未测遗忘：父模型不给出文本的概率。",
)

"""Scorers: the Decoder in batches of windows, and the n-gram model.

A document longer than the window is read in windows that overlap by half. Each token is scored once, in the
first window that holds it, and so has at least half a window before it (or all there is, near the begin).

Shape suffixes: B rows of a batch, T time, C width, N counted tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from hanlin.base.device import Compute
from hanlin.base.progress import track
from hanlin.evaluate.perplexity import Floats, Ids, Scorer
from hanlin.model.classical.ngram import NGramModel
from hanlin.model.decoder import Decoder

TOKENS_AT_ONCE = 2**13
"""Tokens that one batch may hold, padding included."""

LOGITS_AT_ONCE = 2**22
"""Logits computed at a time (16 MiB in float32)."""


@dataclass(frozen=True)
class Window:
    """Inputs start .. stop-1 of a document; of their predictions those from `fresh` on are counted."""

    document: int
    start: int
    fresh: int
    stop: int


def windows(lengths: Sequence[int], window: int) -> Iterator[Window]:
    """Cut documents of `lengths` tokens into windows of at most `window` inputs that overlap by half."""
    stride = max(1, window // 2)
    for document, length in enumerate(lengths):
        scored = 0
        while scored < length:
            start = 0 if scored == 0 else scored - (window - stride)
            stop = min(start + window, length)
            yield Window(document, start, scored, stop)
            scored = stop


def ngram_scorer(model: NGramModel) -> Scorer:
    """The n-gram model as a scorer; the begin of a document is a context of its own."""

    def scorer(documents: Sequence[Ids], /) -> list[Floats]:
        return [model.logprobs(ids_T) for ids_T in documents]

    return scorer


def decoder_scorer(model: Decoder, compute: Compute, begin_id: int, window: int | None = None) -> Scorer:
    """The Decoder as a scorer. `begin_id` stands before the first token of every document, as in training.

    Windows of like length share a batch, padded on the right: attention is causal, so what follows a token
    cannot change its score. `window` (default: the model's) is the longest input.
    """
    longest = window or model.config.window
    assert longest <= model.config.window

    @torch.inference_mode()
    def scorer(documents: Sequence[Ids], /) -> list[Floats]:
        cuts = sorted(windows([len(ids) for ids in documents], longest), key=lambda cut: cut.start - cut.stop)
        batches = list(_batches(cuts))
        scores = [np.full(len(ids), np.nan) for ids in documents]
        was_training = model.training
        model.eval()
        for batch in track(batches, "examine", len(batches)):
            for cut, log_p in zip(batch, _score(model, compute, begin_id, documents, batch), strict=True):
                scores[cut.document][cut.fresh : cut.stop] = log_p
        model.train(was_training)
        return scores

    return scorer


def _batches(cuts: Sequence[Window]) -> Iterator[Sequence[Window]]:
    """Runs of windows, longest first, of together at most `TOKENS_AT_ONCE` tokens with their padding."""
    place = 0
    while place < len(cuts):
        rows = max(1, TOKENS_AT_ONCE // (cuts[place].stop - cuts[place].start))
        yield cuts[place : place + rows]
        place += rows


def _score(
    model: Decoder, compute: Compute, begin_id: int, documents: Sequence[Ids], batch: Sequence[Window]
) -> list[Floats]:
    """ln P of the fresh targets of each window in `batch`; N = all of them, one window after another."""
    T = max(cut.stop - cut.start for cut in batch)
    inputs_BT = np.full((len(batch), T), begin_id, np.int64)
    fresh_BT = np.zeros((len(batch), T), bool)
    for row, cut in enumerate(batch):
        ids = documents[cut.document]
        inputs_BT[row, 0] = begin_id if cut.start == 0 else ids[cut.start - 1]
        inputs_BT[row, 1 : cut.stop - cut.start] = ids[cut.start : cut.stop - 1]
        fresh_BT[row, cut.fresh - cut.start : cut.stop - cut.start] = True
    targets = [documents[cut.document][cut.fresh : cut.stop] for cut in batch]
    targets_N = torch.from_numpy(np.concatenate(targets)).to(compute.device)
    with compute.autocast():
        hidden_BTC = model.hidden(torch.from_numpy(inputs_BT).to(compute.device))
        # Only what is counted goes through the output head, a slice at a time: logits are the largest array.
        hidden_NC = hidden_BTC[torch.from_numpy(fresh_BT).to(compute.device)]
        rows = max(1, LOGITS_AT_ONCE // model.config.vocab_size)
        nll = [
            F.cross_entropy(
                model.head(hidden_NC[i : i + rows]).float(), targets_N[i : i + rows], reduction="none"
            )
            for i in range(0, len(targets_N), rows)
        ]
    ends = np.cumsum([len(target) for target in targets])[:-1]
    return np.split(-torch.cat(nll).double().cpu().numpy(), ends)

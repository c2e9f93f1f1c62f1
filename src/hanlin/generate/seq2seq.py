"""Texts written by encoder-decoders: each source is read once, and its text found by beam search or drawn.

B sources, S source time, T target time, N counted tokens, V vocabulary.
"""

from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from hanlin.base.device import Compute
from hanlin.base.progress import track
from hanlin.batches.ragged import lay_inputs
from hanlin.generate.beam import BeamConfig, Hypothesis, beam_search
from hanlin.generate.generation import Generation
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.sampling import choose
from hanlin.generate.scoring import TokenScores
from hanlin.generate.seq2seq_rows import Ids, TargetRows, batches_of
from hanlin.model.seq2seq import Seq2Seq, shift_right
from hanlin.tokenizer.tokenizer import Tokenizer


def write_targets(
    model: Seq2Seq,
    sources: Sequence[Ids],
    compute: Compute,
    config: BeamConfig,
    *,
    start_id: int,
    ends: Collection[int],
    max_new_tokens: int,
    banned: Sequence[int] = (),
    tokenizer: Tokenizer | None = None,
    title: str = "",
) -> list[list[Hypothesis]]:
    """Up to `config.best` texts of each source, best first; with a `title`, progress is shown.

    sources: ids with their special tokens, at least one each. start_id: what the decoder reads first. A text has at most
    `max_new_tokens` tokens, and no more than the model's window. banned: tokens that are never written; tokenizer: needed
    where the settings have `bad_words`. Raises `RequestError` for a source beyond the window, and for lengths that
    contradict each other.
    """
    assert not model.training
    config.check_length(max_new_tokens)
    most = min(max_new_tokens, model.config.window)
    found: list[list[Hypothesis]] = [[]] * len(sources)
    batches = list(batches_of([len(ids) for ids in sources], config.beams, compute.device.type))
    for numbers in track(batches, title, len(batches)) if title else batches:
        with torch.inference_mode(), compute.autocast():
            rows = TargetRows(model, [sources[number] for number in numbers], compute, most)
            begun = [[start_id]] * len(numbers)
            hypotheses = beam_search(
                rows,
                begun,
                config,
                ends=ends,
                limits=[most] * len(begun),
                banned=banned,
                tokenizer=tokenizer,
                device=compute.device,
            )
        for number, those in zip(numbers, hypotheses, strict=True):
            found[number] = those
    return found


@torch.inference_mode()
def draw_targets(
    model: Seq2Seq,
    sources: Sequence[Ids],
    compute: Compute,
    tokenizer: Tokenizer,
    parameters: SamplingParameters,
    *,
    samples: int = 1,
    banned: Sequence[int] = (),
    title: str = "",
) -> list[list[Generation]]:
    """So many texts of each source, each drawn by itself, as the engine draws those of decoders.

    The k-th text of a source, from 0, has the seed `seed + k` if one was given. What stands before a text is the token
    that the decoder reads first. banned: tokens that have no part in the distribution. A text has at most the tokens of
    the model's window. Raises `RequestError` for a source beyond the window, and as `Controls` for wrong parameters.
    """
    assert not model.training
    assert samples >= 1
    most, start = min(parameters.max_new_tokens, model.config.window), (tokenizer.start_id,)
    seeds = [None if parameters.seed is None else (parameters.seed + k) % 2**63 for k in range(samples)]
    asked = [parameters.changed({"seed": seed}) for seed in seeds]
    drawn = [[Generation(k, start, one, most, tokenizer) for k, one in enumerate(asked)] for _ in sources]
    batches = list(batches_of([len(ids) for ids in sources], samples, compute.device.type))
    for numbers in track(batches, title, len(batches)) if title else batches:
        with compute.autocast():
            rows = TargetRows(model, [sources[number] for number in numbers], compute, most)
            if samples > 1:
                places = [place for place in range(len(numbers)) for _ in range(samples)]
                rows.keep(torch.tensor(places, device=compute.device))
            _draw(rows, [one for number in numbers for one in drawn[number]], banned, tokenizer, compute)
    return drawn


def _draw(
    rows: TargetRows,
    generations: Sequence[Generation],
    banned: Sequence[int],
    tokenizer: Tokenizer,
    compute: Compute,
) -> None:
    """Go on until every text has ended; one that has leaves `rows`."""
    active = list(generations)
    while active:
        last = [(*one.prompt_ids, *one.token_ids)[-1] for one in active]
        logits_RV = rows.logits(torch.tensor(last, device=compute.device))[:, : tokenizer.vocab_size].float()
        logits_RV[:, [id for id in banned if id < tokenizer.vocab_size]] = -torch.inf
        for one, chosen in zip(active, choose(logits_RV, active), strict=True):
            one.accept(chosen)
        going = [row for row, one in enumerate(active) if one.finish_reason is None]
        if 0 < len(going) < len(active):
            rows.keep(torch.tensor(going, device=compute.device))
        active = [active[row] for row in going]


@torch.inference_mode()
def score_targets(
    model: Seq2Seq,
    sources: Sequence[Ids],
    targets: Sequence[Ids],
    compute: Compute,
    *,
    start_id: int,
    title: str = "",
) -> list[TokenScores]:
    """log P(y_t | y_<t, x) of every token of each target, given its source; with a `title`, progress is shown.

    sources, targets: ids with their special tokens, at least one each; a target's end counts where it is given.
    Raises `RequestError` for a source or target beyond the window.
    """
    assert not model.training
    scores: list[TokenScores] = [TokenScores(np.zeros(0), np.zeros(0, bool))] * len(sources)
    lengths = [max(len(source), len(target)) for source, target in zip(sources, targets, strict=True)]
    batches = list(batches_of(lengths, 1, compute.device.type))
    for numbers in track(batches, title, len(batches)) if title else batches:
        source = lay_inputs([sources[number] for number in numbers], "padded", 0).to(compute.device)
        target_BT = lay_inputs([targets[number] for number in numbers], "padded", 0).tokens_BT.to(
            compute.device
        )
        with compute.autocast():
            memory = model.encode(source.tokens_BT, source.documents_BT)
            # What follows the end of a target is padding: no counted place sees it.
            hidden_BTC = model.hidden(shift_right(target_BT, start_id), memory)
            for row, number in enumerate(numbers):
                length = len(targets[number])
                scores[number] = _scores(model.logits(hidden_BTC[row, :length]), target_BT[row, :length])
    return scores


def _scores(logits_NV: Tensor, target_N: Tensor) -> TokenScores:
    log_p_N = logits_NV.log_softmax(-1).gather(1, target_N.unsqueeze(1)).squeeze(1)
    return TokenScores(log_p_N.double().cpu().numpy(), (logits_NV.argmax(1) == target_N).cpu().numpy())

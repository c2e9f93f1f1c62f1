"""Log-probabilities of given tokens, in nats, by the runner that also makes text: what serves is what is scored.

N counted tokens, V vocabulary.
"""

from collections.abc import Sequence

import numpy as np
import torch

from hanlin.generate.runner import Chunk, Runner
from hanlin.generate.scoring import LOGITS_AT_ONCE, Ids, TokenScores, scores_of_logits, windows
from hanlin.tokenizer.tokenizer import Tokenizer


def runner_scores(
    runner: Runner, texts: Sequence[Ids], firsts: Sequence[int], slot: int = 0
) -> list[TokenScores]:
    """What the model says of x_t given x_<t, for t = first .. T-1 of each text, by `slot`, which loses what it held.

    Windows as in `token_scores`. What a text has in common with the beginning of the one before is not read again.
    """
    assert min(firsts, default=1) >= 1
    reader = _Reader(runner, slot)
    scores = []
    for ids, first in zip(texts, firsts, strict=True):
        cuts = windows(first, len(ids), runner.window)
        parts = [reader.scores(ids[start:stop], scored - start) for start, scored, stop in cuts]
        none = TokenScores(np.empty(0), np.empty(0, bool))
        log_p, likeliest = zip(*((part.log_p, part.likeliest) for part in (none, *parts)), strict=True)
        scores.append(TokenScores(np.concatenate(log_p), np.concatenate(likeliest)))
    return scores


def text_nats(runner: Runner, tokenizer: Tokenizer, text: str, slot: int = 0) -> tuple[float, int]:
    """-ln P(text), in nats, and its UTF-8 bytes: bits per byte are nats / ln 2 / bytes (arXiv 2101.00027, 3.1).

    One document, whatever its length. The first token is conditioned on the begin token; of a model without one it is
    not counted, though its bytes are.
    """
    (scores,) = runner_scores(runner, [tokenizer.encode_prompt(text)], [1], slot)
    return -float(scores.log_p.sum()), len(text.encode())


class _Reader:
    """One slot, and the ids that it holds."""

    def __init__(self, runner: Runner, slot: int) -> None:
        self._runner, self._slot = runner, slot
        self._held: list[int] = []

    def scores(self, ids: Ids, counted: int) -> TokenScores:
        """Of ids[counted:], given all that stands before each. The last one is only a target."""
        inputs = [int(id) for id in ids[:-1]]
        kept = _common(self._held, inputs[: counted - 1])
        self._runner.truncate(self._slot, kept)
        if kept < counted - 1:
            self._runner.forward([Chunk(self._slot, inputs[kept : counted - 1], "none")])
        at_once = max(1, LOGITS_AT_ONCE // self._runner.vocab_size)
        parts = []
        for start in range(counted - 1, len(inputs), at_once):
            chunk = inputs[start : start + at_once]
            logits_NV = self._runner.forward([Chunk(self._slot, chunk, "all")])
            targets = np.asarray(ids[start + 1 : start + 1 + len(chunk)], np.int64)
            parts.append(scores_of_logits(logits_NV, torch.from_numpy(targets).to(logits_NV.device)))
        self._held = inputs
        log_p, likeliest = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
        return TokenScores(log_p.double().numpy(), likeliest.numpy())


def _common(held: Sequence[int], wanted: Sequence[int]) -> int:
    """How many ids two sequences begin with alike."""
    pairs = enumerate(zip(held, wanted, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(held), len(wanted)))

"""What tests of objectives share: a short training, and rows whose every token follows from any other."""

import numpy as np
import torch

from hanlin.batches.loader import Loader
from hanlin.tokenizer.special import SpecialIds

SPECIAL = SpecialIds(
    end=1, pad=0, cls=2, sep=1, mask=3, sentinels=tuple(range(4, 12)), all=frozenset(range(12))
)
"""Ids 0 .. 11: [PAD], [SEP], which ends documents, [CLS], [MASK], and eight sentinels."""

FIRST, COUNT = 12, 16
"""Ordinary tokens: FIRST .. FIRST + COUNT - 1."""

VOCABULARY = FIRST + COUNT


def repeating(documents=40, length=37, seed=0, special=SPECIAL):
    """A token stream of documents, each of which says one token over and over."""
    random, stream = np.random.default_rng(seed), []
    for _ in range(documents):
        stream += [special.end, *[FIRST + int(random.integers(COUNT))] * length]
    return np.array([*stream, special.end], np.uint16)


def teach(model, objective, examples, steps, rows=16, rate=3e-3):
    """Train, and give back what the objective then examines on other draws of the rows."""
    optimizer = torch.optim.AdamW(model.parameters(), rate)
    stream = Loader(examples, rows=rows, seed=1).stream(0)
    model.train()
    for _ in range(steps):
        batch = next(stream)
        (objective.loss(model, batch) / max(1, objective.count(batch))).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    with torch.no_grad():
        measured = objective.examine(model, next(Loader(examples, rows=64, seed=2).stream(0)))
    return {name: total / count for name, (total, count) in measured.items()}


def same_however_split(model, objective, batch):
    """Loss and gradient of a batch as a whole and in pieces of one and three rows, by the one reduction rule."""
    found = []
    for rows in (batch.rows, 1, 3):
        model.zero_grad()
        pieces = batch.split(rows)
        assert sum(objective.count(piece) for piece in pieces) == objective.count(batch)
        for piece in pieces:
            (objective.loss(model, piece) / objective.count(batch)).backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], atol=1e-6, rtol=1e-4)

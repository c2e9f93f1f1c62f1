"""Validation loss: mean NLL in nats over every target of the held-out rows."""

import torch

from hanlin.base.device import Compute
from hanlin.batches.loader import Loader
from hanlin.model.decoder import Decoder
from hanlin.objective.term import Objective


@torch.no_grad()
def validation_loss(
    model: Decoder, objective: Objective, rows: Loader, limit: int, compute: Compute
) -> float:
    """Sum of losses over sum of counts, over the first `limit` rows in order; same rows each time."""
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    for batch in rows.once(limit):
        with compute.autocast():
            term = objective.loss(model, batch.to(compute.device))
        total, count = total + float(term.sum), count + term.count
    model.train(was_training)
    return total / count

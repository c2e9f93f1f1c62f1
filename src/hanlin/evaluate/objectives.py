"""The examination of a model by what it was pre-trained on: loss and accuracy of each objective, on held-out text."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch

from hanlin.base.device import Compute
from hanlin.base.progress import track
from hanlin.batches.framed import FramedRows
from hanlin.batches.loader import Loader
from hanlin.evaluate.bootstrap import ratio_interval
from hanlin.evaluate.config import EvaluateConfig
from hanlin.evaluate.pseudo_perplexity import pseudo_scores
from hanlin.evaluate.results import Figure, Interval, ObjectiveFigures
from hanlin.model.assemble import Model
from hanlin.model.encoder import Encoder
from hanlin.objective.mixture import Part


@torch.no_grad()
def examine_objective(
    model: Model, part: Part, share: float, compute: Compute, config: EvaluateConfig
) -> ObjectiveFigures:
    """All that the objective of `part` examines, over the first `share` of its held-out rows.

    Intervals are by the bootstrap over batches, which are texts that stand together.
    """
    assert not model.training
    assert isinstance(part.held_out, Loader)
    rows_in_split = len(part.held_out.examples)
    rows = max(1, round(share * rows_in_split))
    sums, counts = defaultdict[str, list[float]](list), defaultdict[str, list[int]](list)
    batches = -(-rows // part.held_out.rows)
    for batch in track(part.held_out.once(rows), f"examine {part.name}", batches):
        with compute.autocast():
            examined = part.objective.examine(model, batch.to(compute.device))
        for name, (summed, count) in examined.items():
            sums[name].append(summed)
            counts[name].append(count)
    figures = {name: _figure(sums[name], counts[name], config) for name in sums}
    return ObjectiveFigures(rows=rows, rows_in_split=rows_in_split, figures=figures)


def examine_pseudo_perplexity(
    model: Encoder, rows: FramedRows, compute: Compute, config: EvaluateConfig
) -> ObjectiveFigures:
    """Pseudo-perplexity on the first rows, of together at least `config.pseudo_tokens` tokens if there are."""
    count = min(len(rows), -(-config.pseudo_tokens // rows.length))
    taken = rows.take(np.arange(count))
    scores = pseudo_scores(model, taken, rows.special, compute, "pseudo-perplexity")
    interval = ratio_interval(scores.nll_B, scores.tokens_B, config.resamples, config.seed)
    ends = interval and Interval(low=float(np.exp(interval.low)), high=float(np.exp(interval.high)))
    figure = Figure(value=scores.perplexity, interval=ends)
    return ObjectiveFigures(rows=count, rows_in_split=len(rows), figures={"pseudo_perplexity": figure})


def _figure(sums: Sequence[float], counts: Sequence[int], config: EvaluateConfig) -> Figure:
    interval = ratio_interval(np.array(sums), np.array(counts), config.resamples, config.seed)
    return Figure(value=sum(sums) / max(1, sum(counts)), interval=interval)

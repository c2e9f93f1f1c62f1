"""What one process of a training run holds, from a trial in one process: counts for what is divided among several."""

from hanlin.model.assemble import build_outline
from hanlin.model.block import Block
from hanlin.model.config import CoreConfig
from hanlin.trainer.config import Distribution
from hanlin.trainer.trial import Trial

FLOAT = 4
"""Bytes of a value that is trained."""


def process_memory(
    trial: Trial, core: CoreConfig, distribution: Distribution, processes: int
) -> dict[str, int]:
    """Bytes by purpose in each of `processes`; `trial` is of the rows that one of them takes.

    Of several processes each gathers what lies outside the blocks for a whole pass and the blocks one after another,
    two at a time as the next is fetched early; and it copies what it holds for a checkpoint, of which it writes its
    part from memory while training goes on.
    """
    divided = processes if distribution == "shard" else 1
    parts = {
        "weights": trial.weight_bytes // divided,
        "gradients": trial.weight_bytes // divided,
        "optimizer": trial.optimizer_bytes // divided,
        "activations": trial.activation_bytes,
        "process": trial.process_bytes,
    }
    if processes > 1:
        held = parts["weights"] + parts["optimizer"]
        written = (trial.weight_bytes + trial.optimizer_bytes) // processes
        parts |= {"gathered": _gathered(core), "checkpoint": held + written}
    return parts


def _gathered(core: CoreConfig) -> int:
    """Whole weights and their whole gradients: of two of the largest blocks, and of all outside the blocks."""
    outline = build_outline(core)
    blocks = [
        sum(parameter.numel() for parameter in block.parameters())
        for block in outline.modules()
        if isinstance(block, Block)
    ]
    outside = sum(parameter.numel() for parameter in outline.parameters()) - sum(blocks)
    return 2 * FLOAT * (outside + 2 * max(blocks))

"""Learning-rate schedules: pure functions from the step to a share of the peak rate."""

import math

from hanlin.trainer.config import TrainingConfig


def rate_share(step: int, config: TrainingConfig) -> float:
    """The share of the peak rate used by optimizer step `step` (the first is 0).

    Linear warm-up; then constant, linear, cosine (arXiv 1608.03983, eq. 5), inverse square root (arXiv 1706.03762,
    eq. 3, whose peak is at the end of the warm-up) or warm-up-stable-decay with a linear end (arXiv 2404.06395, eq. 1).
    """
    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "inverse-sqrt":
        return math.sqrt(config.warmup / (step + 1))
    start = config.warmup
    if config.schedule == "warmup-stable-decay":
        start = max(start, config.steps - round(config.decay_share * config.steps))
    if step < start:
        return 1.0
    done = (step - start + 1) / (config.steps - start)
    shape = (1 + math.cos(math.pi * done)) / 2 if config.schedule == "cosine" else 1 - done
    return config.final_share + (1 - config.final_share) * shape

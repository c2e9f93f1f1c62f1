"""Averages of weights: exponential over the steps of a run, and the plain mean of models.

Sources: Polyak & Juditsky 1992 (averaging); Tarvainen & Valpola 2017, arXiv 1703.01780, eq. 2 (exponential);
Vaswani et al. 2017, arXiv 1706.03762, section 6.1 (the last checkpoints).
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hanlin.trainer.learner import Learner
from hanlin.trainer.parallel import release
from hanlin.trainer.schedule_free import ScheduleFreeAdamW


def begin_average(model: nn.Module) -> dict[str, Tensor]:
    """A moving average of all parameters that are trained, before the first step: the weights as they are."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def update_average(average: dict[str, Tensor], model: nn.Module, decay: float, step: int) -> None:
    """average <- d average + (1 - d) weights after step t = 1, 2, ..., with d = min(decay, (1 + t) / (10 + t)).

    The second term lets the average forget the random weights it began with, however short the run.
    """
    decay = min(decay, (1 + step) / (10 + step))
    weights = [p.detach() for p in model.parameters() if p.requires_grad]
    torch._foreach_lerp_(list(average.values()), weights, 1 - decay)


def schedule_free_weights(model: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """The averages that schedule-free optimizers keep, by parameter name; of other optimizers nothing."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        names[id(parameter)]: optimizer.average(parameter)
        for optimizer in optimizers
        if isinstance(optimizer, ScheduleFreeAdamW)
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


@contextlib.contextmanager
def standing_in(learner: Learner, values: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Within it the model has `values` for its parameters of those names; afterwards its own again, the same bytes.

    Yields its own, by name.
    """
    release(learner)
    parameters = {name: p for name, p in learner.model.named_parameters() if name in values}
    own = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    _assign(parameters, values)
    try:
        yield own
    finally:
        release(learner)
        _assign(parameters, own)


@torch.no_grad()
def _assign(parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(values[name])


@torch.no_grad()
def mean_weights(models: Iterable[nn.Module]) -> dict[str, Tensor]:
    """The mean of every parameter over `models` of one shape, summed in float64 and rounded once to its dtype.

    One model at a time is held besides the sum.
    """
    sums: dict[str, Tensor] = {}
    dtypes: dict[str, torch.dtype] = {}
    count = 0
    for model in models:
        count += 1
        for name, parameter in model.named_parameters():
            dtypes.setdefault(name, parameter.dtype)
            value = parameter.detach().double()
            sums[name] = sums[name] + value if name in sums else value
    assert count, "a mean of nothing"
    return {name: (total / count).to(dtypes[name]) for name, total in sums.items()}

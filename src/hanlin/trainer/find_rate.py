"""The learning-rate finder: a short run whose rate grows exponentially, and what its losses say.

Source: Smith 2017, arXiv 1506.01186, section 3.3 ("LR range test"), with an exponential in place of a linear sweep, as
good rates are spread over powers of ten. All rates of a run grow together: what is swept is a factor on each of them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from hanlin.base.device import Compute
from hanlin.base.errors import TrainingError
from hanlin.base.language import Text
from hanlin.base.progress import track
from hanlin.objective.mixture import Mixture
from hanlin.trainer.config import TrainingConfig
from hanlin.trainer.learner import Learner, prepare_memory
from hanlin.trainer.loss_scale import LossScale
from hanlin.trainer.optimizer import build_optimizers, set_rate
from hanlin.trainer.step import training_step

Floats = npt.NDArray[np.float64]

BEYOND_HELP = 4.0
"""The sweep ends where the loss is so many times the lowest one."""
_SMOOTHING = 0.03
"""Standard deviation of the smoothing kernel, as a share of the sweep."""
_FALL = 0.01
"""The share of the loss by which it must fall at least for a rate to be suggested."""


@dataclass(frozen=True)
class RateSweep:
    """Losses in nats at rising learning rates, smoothed ones beside them, and what follows from them."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggested: float | None
    lowest_at: float
    why: Text


def find_rate(
    build: Callable[[], nn.Module],
    mixture: Mixture,
    config: TrainingConfig,
    compute: Compute,
    *,
    steps: int = 100,
    lowest: float = 1e-6,
    highest: float = 1.0,
) -> RateSweep:
    """Train a new model for at most `steps` steps while `learning_rate` grows from `lowest` to `highest`.

    Everything else is as `config` says, without its schedule. Ends early where the loss is beyond help. Raises
    `TrainingError` if the very first loss is not finite.
    """
    learner = Learner(build().to(compute.device).train())
    prepare_memory(learner.model, config)
    optimizers = build_optimizers(learner.model, config)
    scale = LossScale() if compute.precision == torch.float16 else None
    growth = (highest / lowest) ** (1 / (steps - 1))
    rates, losses = list[float](), list[float]()
    stream = islice(mixture.stream(mixture.start()), steps)
    for index, (part, batch, _) in enumerate(track(stream, "find-rate", steps)):
        rate = lowest * growth**index
        set_rate(optimizers, rate / config.learning_rate)
        loss = training_step(
            learner, part.objective, optimizers, batch, compute,
            micro_rows=config.rows_at_once, clip=config.clip, on_nonfinite="skip", scale=scale,
        ).loss  # fmt: skip
        if not math.isfinite(loss) or loss > BEYOND_HELP * min([*losses, loss]):
            break
        rates.append(rate)
        losses.append(loss)
    if not losses:
        raise TrainingError(
            Text("The loss of the untrained model is not finite: no rate can be judged.",
                 "未训练模型的损失就不是有限值：无法评判学习率。"),
            Text("Set pretrain.precision=float32, or mend the settings of the model.",
                 "请设 pretrain.precision=float32，或修改模型的设置。"),
        )  # fmt: skip
    return judge(rates, losses)


def judge(rates: list[float], losses: list[float]) -> RateSweep:
    """Suggest the rate at which the smoothed loss falls fastest for each tenfold of the rate, before its lowest point.

    At the lowest point itself rates already do as much harm as good, and beyond it the run diverges.
    """
    smooth = _smoothed(np.array(losses))
    slopes = np.gradient(smooth, np.log10(rates)) if len(rates) > 1 else np.zeros(1)
    bottom = int(smooth.argmin())
    fall = float(smooth[0] - smooth[bottom])
    if fall < _FALL * abs(float(smooth[0])):
        suggested = None
        why = Text(
            "The loss did not fall at any rate: widen the sweep (--lowest, --highest), or give it more steps (--steps).",
            "在任何学习率下损失都没有下降：请放宽范围（--lowest、--highest）或增加步数（--steps）。",
        )
    else:
        steepest = int(slopes[: bottom + 1].argmin())
        suggested = float(rates[steepest])
        why = Text(
            f"At {suggested:.1e} the smoothed loss falls fastest, by {-slopes[steepest]:.2f} for each tenfold of the rate; "
            f"it is lowest at {rates[bottom]:.1e}, from where on rates do harm.",
            f"在 {suggested:.1e} 处平滑后的损失下降最快，学习率每增至十倍下降 {-slopes[steepest]:.2f}；"
            f"在 {rates[bottom]:.1e} 处最低，再大便有害。",
        )
    return RateSweep(
        tuple(rates), tuple(losses), tuple(smooth.tolist()), suggested, float(rates[bottom]), why
    )


def _smoothed(losses: Floats) -> Floats:
    """Means under a Gaussian kernel that is centred, so that nothing is shifted, and cut at the ends."""
    places = np.arange(len(losses))
    width = max(1.0, _SMOOTHING * len(losses))
    kernel = np.exp(-(((places[:, None] - places) / width) ** 2) / 2)
    smooth: Floats = kernel @ losses / kernel.sum(axis=1)
    return smooth

"""Linear probes: how well a layer's vectors tell classes apart, with nothing but a plane between them.

The model stays as it is. Source: Alain & Bengio 2016, arXiv 1610.01644.

N texts, T tokens of the longest, C width, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hanlin.base.device import Compute
from hanlin.base.errors import RequestError
from hanlin.base.language import Text
from hanlin.batches.folds import Fold
from hanlin.batches.ragged import Ids, Inputs, lay_inputs
from hanlin.model.heads import pool
from hanlin.model.stack import Stack

ROWS = 64
"""Texts that are read at a time, longest first."""


@torch.no_grad()
def text_vectors(
    model: Stack, texts: Sequence[Ids], compute: Compute, *, layer: int | None = None, pooling: str = "mean"
) -> Tensor:
    """The vector of each text after block `layer`, (N, C), float32 on the CPU.

    layer: 0 is the embedding, None the normalised last hidden state. pooling: mean over tokens, first or last token.
    Raises `RequestError` for a layer that the model does not have.
    """
    assert not model.training, "dropout would blur the vectors"
    if layer is not None and not 0 <= layer <= len(model.blocks):
        raise RequestError(
            Text(f"There is no layer {layer}: the model has {len(model.blocks)}.",
                 f"没有第 {layer} 层：模型共有 {len(model.blocks)} 层。"),
            Text("Give a layer from 0 (the embedding) on.", "请给出从 0（词嵌入）起的层号。"),
        )  # fmt: skip
    order = np.argsort([-len(ids) for ids in texts], kind="stable")
    vectors_NC = torch.empty(len(texts), model.config.width)
    for start in range(0, len(order), ROWS):
        some = order[start : start + ROWS]
        inputs = lay_inputs([texts[number] for number in some], "padded", pad_id=0).to(compute.device)
        with compute.autocast():
            states_BTC = _states(model, inputs, layer)
        vectors_NC[torch.from_numpy(some)] = pool(states_BTC.float(), pooling, inputs.documents_BT).cpu()
    return vectors_NC


def _states(model: Stack, inputs: Inputs, layer: int | None) -> Tensor:
    seen: list[Tensor] = []

    def keep(_module: Any, _inputs: Any, x_BTC: Tensor) -> None:
        seen.append(x_BTC)

    module = model.embed if layer == 0 else model.blocks[layer - 1] if layer is not None else model.norm
    hook = module.register_forward_hook(keep)
    try:
        model.hidden(inputs.tokens_BT, documents_BT=inputs.documents_BT)
    finally:
        hook.remove()
    return seen[0]


@dataclass(frozen=True)
class Probe:
    """argmax_k of W x + b on vectors scaled to mean 0 and deviation 1 as those that it was fitted to."""

    weight_KC: Tensor
    bias_K: Tensor
    mean_C: Tensor
    deviation_C: Tensor

    def scores(self, x_NC: Tensor) -> Tensor:
        """Logits of the classes: (N, K), float64."""
        return ((x_NC.double() - self.mean_C) / self.deviation_C) @ self.weight_KC.T + self.bias_K


def fit_probe(x_NC: Tensor, labels_N: Tensor, classes: int, l2: float = 1e-2) -> Probe:
    """Logistic regression: the least mean cross-entropy + l2 / 2 ||W||^2, by L-BFGS in float64 from zero.

    The problem is convex and nothing is drawn, so that the same vectors give the same probe. l2 = 1 / (N C) in the
    terms of scikit-learn.
    """
    assert l2 > 0, "separable classes have no finite optimum without it"
    x_NC = x_NC.double()
    mean_C, deviation_C = x_NC.mean(0), x_NC.std(0, correction=0).clamp(min=1e-9)
    scaled_NC = (x_NC - mean_C) / deviation_C
    weight_KC = torch.zeros(classes, x_NC.shape[1], dtype=torch.float64, requires_grad=True)
    bias_K = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight_KC, bias_K], max_iter=500, tolerance_grad=1e-7, tolerance_change=0, line_search_fn="strong_wolfe"
    )  # fmt: skip

    def loss() -> float:
        optimizer.zero_grad()
        value = (
            F.cross_entropy(scaled_NC @ weight_KC.T + bias_K, labels_N) + l2 / 2 * weight_KC.square().sum()
        )
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    return Probe(weight_KC.detach(), bias_K.detach(), mean_C, deviation_C)


@dataclass(frozen=True)
class ProbeResult:
    """Accuracy on the test part of each fold."""

    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the folds."""
        return fmean(self.accuracies)

    @property
    def deviation(self) -> float:
        """Standard deviation over the folds."""
        return stdev(self.accuracies)


def cross_validated_probe(
    x_NC: Tensor, labels_N: NDArray[np.int64], folds: Sequence[Fold], l2: float = 1e-2
) -> ProbeResult:
    """Fitted on the training part of each fold, examined on its test part."""
    labels, classes = torch.from_numpy(labels_N), int(labels_N.max()) + 1
    accuracies = []
    for fold in folds:
        train, test = torch.from_numpy(fold.train), torch.from_numpy(fold.test)
        probe = fit_probe(x_NC[train], labels[train], classes, l2)
        right = probe.scores(x_NC[test]).argmax(1) == labels[test]
        accuracies.append(float(right.float().mean()))
    return ProbeResult(tuple(accuracies))

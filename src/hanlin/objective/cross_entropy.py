"""Cross-entropy over the vocabulary from the last hidden state, without ever holding all logits.

B batch, T time, C width, V vocabulary, N counted targets, n those of one chunk, P = V rounded up to `ALIGNMENT`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from hanlin.batches.batch import IGNORE
from hanlin.model.causal import CausalModel
from hanlin.model.headed import Headed
from hanlin.model.seq2seq import Seq2Seq

CHUNK_BYTES = {"cpu": 2**26, "cuda": 2**29}
"""Most bytes of float32 logits that stand in memory at a time: as many as keep the device busy."""

ALIGNMENT = 16
"""Values in a cache line: matrix products write faster into rows that begin on one."""


def token_loss(
    model: CausalModel | Seq2Seq, hidden_BTC: Tensor, targets_BT: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """- sum_t log P(target_t | hidden_t) over the targets that are not `IGNORE`: a scalar, float32 nats.

    hidden_BTC: last hidden states, of the shape of `targets_BT` (int64) and one axis more. With label smoothing s, a
    target's probability is 1 - s and the vocabulary shares s (arXiv 1512.00567, sec. 7). Under autocast matrix
    products run in its format and the loss in float32. Without any counted target: 0, with gradients of zero.
    """
    hidden_NC, targets_N = _counted(hidden_BTC.flatten(0, -2), targets_BT.flatten())
    if isinstance(model, Headed | Seq2Seq) and type(model.head) is nn.Linear:
        head, softcap = model.head, model.config.logit_softcap
        return linear_cross_entropy(
            model.head_input(hidden_NC), head.weight, head.bias, targets_N, label_smoothing, softcap
        )
    return _loss_of_logits(model.logits, hidden_NC, targets_N, label_smoothing, model.config.vocab_size)


def _counted(hidden_NC: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """Only the places whose targets count: of a masked language model one in seven."""
    places = (targets_N != IGNORE).nonzero().squeeze(1)
    if len(places) == len(targets_N):
        return hidden_NC, targets_N
    return hidden_NC[places], targets_N[places]


def chunk_rows(N: int, V: int, device: torch.device) -> int:
    """Targets in a chunk: chunks are as even as they can be, and hold at most `CHUNK_BYTES` of logits."""
    most = max(1, CHUNK_BYTES.get(device.type, CHUNK_BYTES["cuda"]) // (4 * V))
    return max(1, -(-N // max(1, -(-N // most))))


def _loss_of_logits(
    logits: Callable[[Tensor], Tensor], hidden_NC: Tensor, targets_N: Tensor, smoothing: float, V: int
) -> Tensor:
    """For outputs that are more than a linear layer, as with adapters: what a chunk held is computed anew in backward."""

    def loss(hidden_nC: Tensor, targets_n: Tensor) -> Tensor:
        return F.cross_entropy(logits(hidden_nC), targets_n, reduction="sum", label_smoothing=smoothing)

    rows = chunk_rows(len(targets_N), V, hidden_NC.device)
    if len(targets_N) <= rows:
        return loss(hidden_NC, targets_N)
    chunks = zip(torch.split(hidden_NC, rows), torch.split(targets_N, rows), strict=True)
    losses = [checkpoint(loss, *chunk, use_reentrant=False) for chunk in chunks]
    return torch.stack(losses).sum()


class _Settings(NamedTuple):
    smoothing: float
    softcap: float | None
    dtype: torch.dtype
    """Of matrix products; the softmax is in float32, or in float64 if they are."""


def linear_cross_entropy(
    hidden_NC: Tensor,
    weight_VC: Tensor,
    bias_V: Tensor | None,
    targets_N: Tensor,
    label_smoothing: float = 0.0,
    softcap: float | None = None,
) -> Tensor:
    """sum_n cross_entropy(W h_n + b, target_n), as `F.cross_entropy` has it: a scalar, float32 nats.

    softcap: logits z become cap x tanh(z / cap) (arXiv 2408.00118). Gradients are computed along with the loss, so that
    no product is made twice (arXiv 2410.10989). Every target must count.
    """
    kind = hidden_NC.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight_VC.dtype
    settings = _Settings(label_smoothing, softcap, dtype)
    inputs = (hidden_NC, weight_VC, bias_V)
    if torch.is_grad_enabled():
        loss: Tensor = _LinearCrossEntropy.apply(*inputs, targets_N, settings)  # type: ignore[no-untyped-call]
        return loss
    return _walk(inputs, targets_N, settings, [None, None, None])


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NC: Tensor,
        weight_VC: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        settings: _Settings,
    ) -> Tensor:
        inputs = (hidden_NC, weight_VC, bias_V)
        wide = torch.promote_types(settings.dtype, torch.float32)
        empty = (
            torch.empty_like if len(targets_N) else torch.zeros_like
        )  # the first chunk writes, the others add
        gradients = [
            empty(tensor, dtype=wide) if tensor is not None and needed else None
            for tensor, needed in zip(inputs, ctx.needs_input_grad, strict=False)
        ]
        loss = _walk(inputs, targets_N, settings, gradients)
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """In place, for they are large: torch then refuses a second backward pass."""
        return *[None if slope is None else slope.mul_(gradient) for slope in ctx.saved_tensors], None, None


def _walk(
    inputs: tuple[Tensor, Tensor, Tensor | None],
    targets_N: Tensor,
    settings: _Settings,
    gradients: Sequence[Tensor | None],
) -> Tensor:
    """The loss, chunk by chunk through one buffer; the `gradients` that are wanted are filled."""
    hidden_NC, weight_VC, bias_V = inputs
    N, V, device = len(hidden_NC), len(weight_VC), hidden_NC.device
    rows, wide = chunk_rows(N, V, device), torch.promote_types(settings.dtype, torch.float32)
    buffer_nP = torch.empty(rows, -(-V // ALIGNMENT) * ALIGNMENT, dtype=wide, device=device)
    total = torch.zeros((), dtype=wide, device=device)
    with torch.autocast(device.type, enabled=False):
        weight_VC = weight_VC.to(settings.dtype)
        for start in range(0, N, rows):
            hidden_nC = hidden_NC[start : start + rows].to(settings.dtype)
            targets_n1 = targets_N[start : start + rows].unsqueeze(1)
            logits_nP = buffer_nP[: len(hidden_nC)]
            logits_nV = logits_nP[:, :V]
            _product(hidden_nC, weight_VC.T, logits_nV)
            if bias_V is not None:
                logits_nV += bias_V
            capped_nV = None if settings.softcap is None else logits_nV.div_(settings.softcap).tanh()
            if settings.softcap is not None and capped_nV is not None:
                torch.mul(capped_nV, settings.softcap, out=logits_nV)
            total += _loss_to_slopes(logits_nP, targets_n1, V, settings.smoothing)
            if capped_nV is not None:
                logits_nV *= 1 - capped_nV.square_()
            _add(gradients, start, logits_nV, hidden_nC, weight_VC)
    return total


def _loss_to_slopes(logits_nP: Tensor, targets_n1: Tensor, V: int, smoothing: float) -> Tensor:
    """The summed loss of one chunk; its logits are replaced by the slopes of the loss, softmax - target."""
    logits_nV = logits_nP[:, :V]
    chosen_n, most_n = logits_nV.gather(1, targets_n1).squeeze(1), logits_nV.amax(1)
    if smoothing:
        chosen_n = torch.lerp(chosen_n, logits_nV.mean(1), smoothing)
    # Over whole rows, whose kernel reads memory once and writes in place; what fills them up gets no probability.
    logits_nP[:, V:] = -torch.inf
    torch.softmax(logits_nP, 1, out=logits_nP)
    losses_n = (most_n - chosen_n) - logits_nV.amax(1).log()
    logits_nV.scatter_add_(1, targets_n1, torch.full_like(most_n, smoothing - 1).unsqueeze(1))
    if smoothing:
        logits_nV -= smoothing / V
    return losses_n.sum()


def _product(left: Tensor, right: Tensor, out: Tensor) -> None:
    """out <- left @ right, in the format of the two."""
    if left.dtype == out.dtype:
        torch.mm(left, right, out=out)
    else:
        out.copy_(left @ right)


def _add(
    gradients: Sequence[Tensor | None], start: int, slopes_nV: Tensor, hidden_nC: Tensor, weight_VC: Tensor
) -> None:
    """What one chunk adds to the gradients of hidden states, weight and bias, which are empty before the first."""
    of_hidden_NC, of_weight_VC, of_bias_V = gradients
    first = start == 0
    if of_bias_V is not None:
        slope_V = slopes_nV.sum(0)
        of_bias_V.copy_(slope_V if first else of_bias_V + slope_V)
    slopes_nV = slopes_nV.to(hidden_nC.dtype)
    if of_hidden_NC is not None:
        _product(slopes_nV, weight_VC, of_hidden_NC[start : start + len(slopes_nV)])
    if of_weight_VC is None:
        return
    if first:
        _product(slopes_nV.T, hidden_nC, of_weight_VC)
    elif of_weight_VC.dtype == hidden_nC.dtype:
        of_weight_VC.addmm_(slopes_nV.T, hidden_nC)
    else:
        of_weight_VC += slopes_nV.T @ hidden_nC

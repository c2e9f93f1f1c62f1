"""From logits to the next tokens: the order of everything that happens to them is stated here, and only here.

B rows (requests), V vocabulary, K candidates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text
from hanlin.generate.controls import Controls
from hanlin.generate.filters import (
    CANDIDATES,
    apply_temperature,
    draw,
    first_of_greatest,
    greatest,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    keep_typical,
    settled,
)
from hanlin.generate.parameters import SamplingParameters


@dataclass(frozen=True)
class Chosen:
    """The next token of a request, and, where it asked for them, log-probabilities.

    They are natural logarithms of the model's own distribution: before penalties, temperature, filters and masks.
    `top` holds the likeliest tokens with theirs, falling.
    """

    id: int
    log_probability: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Request(Protocol):
    """What `choose` needs to know of a generation."""

    @property
    def parameters(self) -> SamplingParameters:
        """How it is to be drawn."""

    @property
    def controls(self) -> Controls | None:
        """What changes its logits before the draw."""

    @property
    def token_ids(self) -> Sequence[int]:
        """What was generated so far."""

    def uniform(self) -> float:
        """The next number in [0, 1) of its own random sequence."""


def choose(logits_BV: Tensor, requests: Sequence[Request]) -> list[Chosen]:
    """The next token of each request, given the logits after its last one; writes to `logits_BV`.

    logits: float32, one row a request, as wide as the tokenizer's vocabulary. In this order: log-probabilities are
    noted; penalties, biases, bans and constraints apply (`Controls`); rows of temperature 0 take the likeliest token,
    of equals the one of lowest id; the others go through temperature, top-k, top-p, min-p, typical, and are drawn.
    Raises `CheckpointError` when a row has no finite maximum.
    """
    assert len(logits_BV) == len(requests)
    if not bool(logits_BV.amax(dim=-1).isfinite().all()):
        raise not_finite()
    told = {row: logits_BV[row].clone() for row, one in enumerate(requests) if _told(one) is not None}
    for row, request in enumerate(requests):
        if request.controls is not None:
            request.controls.apply(logits_BV[row], request.token_ids)
    ids = _next_ids(logits_BV, requests)
    return [
        _with_log_probabilities(id, told[row], requests[row]) if row in told else Chosen(id)
        for row, id in enumerate(ids)
    ]


def _next_ids(logits_BV: Tensor, requests: Sequence[Request]) -> list[int]:
    """Each kind of row together, as tensors of their own."""
    kinds: dict[Callable[[Tensor, Sequence[Request]], Tensor], list[int]] = {}
    for row, request in enumerate(requests):
        kinds.setdefault(_kind(request.parameters), []).append(row)
    ids = [0] * len(requests)
    for next_ids, rows in kinds.items():
        part = logits_BV if len(rows) == len(requests) else logits_BV[rows]
        for row, id in zip(rows, next_ids(part, [requests[row] for row in rows]).tolist(), strict=True):
            ids[row] = id
    return ids


def _kind(parameters: SamplingParameters) -> Callable[[Tensor, Sequence[Request]], Tensor]:
    if parameters.temperature == 0:
        return _greedy
    narrow = parameters.top_k > 0 or parameters.top_p < 1 or parameters.min_p > 0
    return _from_few if narrow else _from_all


def _greedy(logits_BV: Tensor, requests: Sequence[Request]) -> Tensor:
    return first_of_greatest(logits_BV)


def _from_all(logits_BV: Tensor, requests: Sequence[Request]) -> Tensor:
    """Rows that no filter narrows to likeliest tokens."""
    logits_BV = apply_temperature(logits_BV, _column(logits_BV, requests, "temperature"))
    if any(request.parameters.typical_p < 1 for request in requests):
        logits_BV = keep_typical(logits_BV, _column(logits_BV, requests, "typical_p"))
    return draw(logits_BV, _uniform(logits_BV, requests))


def _from_few(logits_BV: Tensor, requests: Sequence[Request]) -> Tensor:
    """Rows whose next token is one of the likeliest: filters run over so many candidates as settle them."""
    wanted = max(row.parameters.top_k + 1 if row.parameters.top_k else CANDIDATES[0] for row in requests)
    for count in (wanted, max(wanted, CANDIDATES[1]), None):
        values_BK, ids_BK = greatest(logits_BV, _enough(logits_BV, requests) if count is None else count)
        kept_BK = _filter(values_BK.double(), logits_BV, requests)
        if count is None or settled(values_BK, kept_BK.isfinite()):
            break
    if any(request.parameters.typical_p < 1 for request in requests):
        kept_BK = keep_typical(kept_BK, _column(kept_BK, requests, "typical_p"))
    return ids_BK.gather(-1, draw(kept_BK, _uniform(kept_BK, requests)).unsqueeze(-1)).squeeze(-1)


def _enough(logits_BV: Tensor, requests: Sequence[Request]) -> int:
    """A number of candidates that settles every filter.

    Top-p without top-k keeps no token of a probability below (1 - p) / V: all of those together have less than 1 - p.
    """
    V = logits_BV.shape[-1]
    logits_BV = apply_temperature(logits_BV, _column(logits_BV, requests, "temperature"))
    least_B1 = (1 - _column(logits_BV, requests, "top_p")) / V
    least_B1.masked_fill_(_column(logits_BV, requests, "top_k") > 0, 0.0)
    border_B1 = logits_BV.logsumexp(dim=-1, keepdim=True) + least_B1.log()
    border_B1 = border_B1.maximum(
        logits_BV.amax(dim=-1, keepdim=True) + _column(logits_BV, requests, "min_p").log()
    )
    return int((logits_BV >= border_B1).sum(dim=-1).max()) + 1


def _filter(logits_BK: Tensor, logits_BV: Tensor, requests: Sequence[Request]) -> Tensor:
    """Temperature, top-k, top-p, min-p over sorted candidates, in float64."""
    parameters = [request.parameters for request in requests]
    temperature_B1 = _column(logits_BK, requests, "temperature")
    logits_BK = apply_temperature(logits_BK, temperature_B1)
    if any(row.top_k for row in parameters):
        logits_BK = keep_top_k(logits_BK, _column(logits_BK, requests, "top_k"))
    if any(row.top_p < 1 for row in parameters):
        total_B1 = logits_BK.logsumexp(dim=-1, keepdim=True)
        if not all(row.top_k for row in parameters):
            all_B1 = apply_temperature(logits_BV, temperature_B1.float()).logsumexp(dim=-1, keepdim=True)
            total_B1 = torch.where(_column(logits_BK, requests, "top_k") > 0, total_B1, all_B1)
        logits_BK = keep_top_p(logits_BK, _column(logits_BK, requests, "top_p"), total_B1)
    if any(row.min_p for row in parameters):
        logits_BK = keep_min_p(logits_BK, _column(logits_BK, requests, "min_p"))
    return logits_BK


def _column(like: Tensor, requests: Sequence[Request], name: str) -> Tensor:
    """One parameter a row, (B, 1), as `like` is."""
    return like.new_tensor([[getattr(request.parameters, name)] for request in requests])


def _uniform(like: Tensor, requests: Sequence[Request]) -> Tensor:
    return torch.tensor([[request.uniform()] for request in requests], dtype=torch.float64).to(like.device)


def _told(request: Request) -> int | None:
    return request.parameters.log_probabilities


def _with_log_probabilities(id: int, logits_V: Tensor, request: Request) -> Chosen:
    count = min(_told(request) or 0, len(logits_V))
    total = float(logits_V.logsumexp(dim=-1))
    top: tuple[tuple[int, float], ...] = ()
    if count:
        (values_K,), (ids_K,) = greatest(logits_V.unsqueeze(0), count)
        top = tuple(zip(ids_K.tolist(), (values_K.double() - total).tolist(), strict=True))
    return Chosen(id, float(logits_V[id]) - total, top)


def not_finite() -> CheckpointError:
    """Logits that say nothing."""
    return CheckpointError(
        Text(
            "The model gives no finite logits: its weights are damaged.",
            "模型的输出不是有限数值：其权重已损坏。",
        ),
        Text("Use an earlier checkpoint.", "请使用更早的检查点。"),
    )

"""From logits to the next token: pure functions, composed in one place.

B rows (requests), V vocabulary; (B, 1) tensors hold one parameter a row, so that rows of different requests
are filtered together. Removed tokens have the logit -inf.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text
from hanlin.generate.parameters import SamplingParameters

_NUCLEUS = 1024
"""So many likeliest tokens are looked at first for top-p."""


@dataclass(frozen=True)
class Chosen:
    """The next token of a request, and, where it asked for them, log-probabilities.

    They are natural logarithms of the model's own distribution: before penalties, filters and masks. `top` holds the
    likeliest tokens with theirs, falling.
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
    def prompt_ids(self) -> Sequence[int]:
        """What it continues."""

    @property
    def token_ids(self) -> Sequence[int]:
        """What was generated so far."""

    def uniform(self) -> float:
        """The next number in [0, 1) of its own random sequence."""


def choose(logits_BV: Tensor, requests: Sequence[Request]) -> list[Chosen]:
    """The next token of each request, given the logits after its last one; writes to `logits_BV`.

    The logits are float32, one row a request, as wide as the tokenizer's vocabulary or wider. Raises
    `CheckpointError` when a row has no finite maximum.
    """
    if not bool(logits_BV.amax(dim=-1).isfinite().all()):
        raise _not_finite()
    rows = SamplingRows.of([request.parameters for request in requests], logits_BV.device)
    seen_BV = None
    if rows.uses_penalty:
        seen_BV = torch.zeros_like(logits_BV, dtype=torch.bool)
        for seen_V, request in zip(seen_BV, requests, strict=True):
            seen_V[[*request.prompt_ids, *request.token_ids]] = True
    logits_BV = filter_logits(logits_BV, rows, seen_BV)
    if rows.greedy:
        return [Chosen(id) for id in logits_BV.argmax(dim=-1).tolist()]
    uniform_B1 = torch.tensor([[request.uniform()] for request in requests], dtype=torch.float64)
    return [Chosen(id) for id in draw(logits_BV, uniform_B1.to(logits_BV.device)).tolist()]


@dataclass(frozen=True)
class SamplingRows:
    """The sampling parameters of B requests as (B, 1) tensors, and which filters any of them needs."""

    temperature_B1: Tensor
    top_k_B1: Tensor
    top_p_B1: Tensor
    min_p_B1: Tensor
    repetition_penalty_B1: Tensor
    greedy: bool
    uses_top_k: bool
    uses_top_p: bool
    uses_min_p: bool
    uses_penalty: bool

    @classmethod
    def of(
        cls, parameters: Sequence[SamplingParameters], device: torch.device | str = "cpu"
    ) -> "SamplingRows":
        """Lay out one row a request, on the device of the logits."""

        def column(name: str, dtype: torch.dtype) -> Tensor:
            return torch.tensor([[getattr(row, name)] for row in parameters], dtype=dtype, device=device)

        return cls(
            column("temperature", torch.float32),
            column("top_k", torch.int64),
            column("top_p", torch.float32),
            column("min_p", torch.float32),
            column("repetition_penalty", torch.float32),
            greedy=all(row.temperature == 0 for row in parameters),
            uses_top_k=any(row.top_k > 0 for row in parameters),
            uses_top_p=any(row.top_p < 1 for row in parameters),
            uses_min_p=any(row.min_p > 0 for row in parameters),
            uses_penalty=any(row.repetition_penalty != 1 for row in parameters),
        )


def filter_logits(logits_BV: Tensor, rows: SamplingRows, seen_BV: Tensor | None = None) -> Tensor:
    """The logits to draw from: repetition penalty, temperature, top-k, top-p, min-p, in this order.

    `seen_BV` says which tokens occurred in prompt or text; it is needed when a row has a repetition penalty.
    """
    if rows.uses_penalty:
        assert seen_BV is not None
        logits_BV = apply_repetition_penalty(logits_BV, seen_BV, rows.repetition_penalty_B1)
    logits_BV = apply_temperature(logits_BV, rows.temperature_B1)
    if rows.greedy:
        return logits_BV
    if rows.uses_top_k:
        logits_BV = keep_top_k(logits_BV, rows.top_k_B1)
    if rows.uses_top_p:
        logits_BV = keep_top_p(logits_BV, rows.top_p_B1)
    if rows.uses_min_p:
        logits_BV = keep_min_p(logits_BV, rows.min_p_B1)
    return logits_BV


def apply_repetition_penalty(logits_BV: Tensor, seen_BV: Tensor, penalty_B1: Tensor) -> Tensor:
    """Logits of seen tokens divided by the penalty where positive, multiplied where negative.

    Source: Keskar et al. 2019 (CTRL), section 4.1, with the sign rule of its implementations.
    """
    penalised_BV = torch.where(logits_BV > 0, logits_BV / penalty_B1, logits_BV * penalty_B1)
    return torch.where(seen_BV, penalised_BV, logits_BV)


def apply_temperature(logits_BV: Tensor, temperature_B1: Tensor) -> Tensor:
    """logits / temperature; at 0 its limit: all probability on the likeliest token, of equals the first.

    Source: Ackley, Hinton and Sejnowski 1985, eq. 5 (Boltzmann distribution).
    """
    zero_B1 = temperature_B1 == 0
    scaled_BV = logits_BV / torch.where(zero_B1, 1.0, temperature_B1)
    if not zero_B1.any():
        return scaled_BV
    best_B1 = logits_BV.argmax(dim=-1, keepdim=True)
    only_BV = torch.full_like(logits_BV, -torch.inf).scatter_(-1, best_B1, 0.0)
    return torch.where(zero_B1, only_BV, scaled_BV)


def keep_top_k(logits_BV: Tensor, k_B1: Tensor) -> Tensor:
    """The k greatest logits of each row, exactly k: of equals at the border, those of lower id. 0 keeps all.

    Source: Fan, Lewis and Dauphin 2018, section 5.4.
    """
    V = logits_BV.shape[-1]
    k_B1 = torch.where(k_B1 == 0, V, k_B1.clamp(max=V))
    return _keep_greatest(logits_BV, k_B1, logits_BV.topk(int(k_B1.max()), dim=-1).values)


def keep_top_p(logits_BV: Tensor, p_B1: Tensor) -> Tensor:
    """The smallest set of likeliest tokens whose probabilities sum to p or more; of equals, lower ids first.

    Source: Holtzman et al. 2020, eq. 2.
    """
    V = logits_BV.shape[-1]
    total_B1 = logits_BV.logsumexp(dim=-1, keepdim=True)
    for K in (min(_NUCLEUS, V), V):  # the nucleus is nearly always small, and a whole sort is slow
        greatest_BK = logits_BV.topk(K, dim=-1).values
        probability_BK = (greatest_BK - total_B1).exp()
        cumulative_BK = probability_BK.cumsum(dim=-1, dtype=torch.float64)
        whole_B1 = p_B1 >= 1
        if K == V or bool((whole_B1 | (cumulative_BK[:, -1:] >= p_B1)).all()):
            break
    count_B1 = ((cumulative_BK - probability_BK) < p_B1).sum(dim=-1, keepdim=True).clamp(min=1)
    kept_BV = _keep_greatest(logits_BV, count_B1, greatest_BK)
    return torch.where(whole_B1, logits_BV, kept_BV)


def keep_min_p(logits_BV: Tensor, p_B1: Tensor) -> Tensor:
    """Tokens whose probability is at least p times that of the likeliest.

    Source: Nguyen et al. 2024 (min-p), section 3.
    """
    best_B1 = logits_BV.max(dim=-1, keepdim=True).values
    return logits_BV.masked_fill(logits_BV < best_B1 + p_B1.log(), -torch.inf)


def _keep_greatest(logits_BV: Tensor, count_B1: Tensor, greatest_BK: Tensor) -> Tensor:
    """The `count` greatest logits of each row, given the K >= count greatest in falling order."""
    border_B1 = greatest_BK.gather(-1, count_B1 - 1)
    keep_BV = logits_BV >= border_B1
    if bool((keep_BV.sum(dim=-1, keepdim=True) > count_B1).any()):  # equals on both sides of the border
        above_BV = logits_BV > border_B1
        free_B1 = count_B1 - above_BV.sum(dim=-1, keepdim=True)
        equal_BV = keep_BV & ~above_BV
        keep_BV = above_BV | (equal_BV & (equal_BV.cumsum(dim=-1) <= free_B1))
    return logits_BV.masked_fill(~keep_BV, -torch.inf)


def draw(logits_BV: Tensor, uniform_B1: Tensor) -> Tensor:
    """The token of each row at which the cumulative probability passes that row's number in [0, 1): (B,)
    int64.

    One number a token and row makes a draw independent of the other rows. Sums run in float64.
    """
    cumulative_BV = logits_BV.softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)
    total_B1 = cumulative_BV[:, -1:]
    target_B1 = torch.minimum(uniform_B1.double() * total_B1, total_B1.nextafter(torch.zeros_like(total_B1)))
    return torch.searchsorted(cumulative_BV, target_B1, right=True).squeeze(-1)


def _not_finite() -> CheckpointError:
    return CheckpointError(
        Text(
            "The model gives no finite logits: its weights are damaged.",
            "模型的输出不是有限数值：其权重已损坏。",
        ),
        Text("Use an earlier checkpoint.", "请使用更早的检查点。"),
    )

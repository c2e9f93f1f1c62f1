"""What is left to draw from: pure functions over candidate tokens.

B rows (requests), K candidates; (B, 1) tensors hold one parameter a row, so that rows of different requests are
filtered together. Candidates stand in falling order, of equals the lower id first, unless said otherwise. Removed
ones have the logit -inf.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

CANDIDATES = (128, 1024)
"""So many are looked at first; only where they do not settle a filter, more."""
_COLDEST = 1e-20
"""Lower temperatures are as this one, which leaves only equals of the greatest: logits over less are not finite."""
_BLOCK = 64
"""Greatest logits are looked for in blocks of so many: only those with a great one are searched."""


def greatest(logits_BV: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` greatest logits of each row and their ids, in falling order: (B, count) and (B, count) int64.

    Of equals the lower id comes first; where equals stand on both sides of the end, it is open which are given.
    """
    B, V = logits_BV.shape
    if count >= V:
        return logits_BV.sort(dim=-1, descending=True, stable=True)
    if logits_BV.device.type != "cpu" or 2 * count * _BLOCK > V:
        ids_BK = logits_BV.topk(count, dim=-1).indices
    else:  # each of the K greatest is in one of the K blocks with the greatest maxima
        blocks_BNb = pad(logits_BV, (0, -V % _BLOCK), value=-torch.inf).view(B, -1, _BLOCK)
        best_BK = blocks_BNb.amax(dim=-1).topk(count, dim=-1, sorted=False).indices
        searched_BKb = blocks_BNb.gather(1, best_BK.unsqueeze(-1).expand(-1, -1, _BLOCK))
        at_BK = searched_BKb.flatten(1).topk(count, dim=-1, sorted=False).indices
        ids_BK = best_BK.gather(1, at_BK // _BLOCK) * _BLOCK + at_BK % _BLOCK
    ids_BK = ids_BK.sort(dim=-1).values
    values_BK, order_BK = logits_BV.gather(-1, ids_BK).sort(dim=-1, descending=True, stable=True)
    return values_BK, ids_BK.gather(-1, order_BK)


def first_of_greatest(logits_BV: Tensor) -> Tensor:
    """The id of the greatest logit of each row, of equals the lowest: (B,) int64."""
    if logits_BV.device.type == "cpu":  # NumPy's is ten times as fast
        return torch.from_numpy(logits_BV.numpy().argmax(axis=-1))
    return logits_BV.argmax(dim=-1)


def apply_temperature(logits_BK: Tensor, temperature_B1: Tensor) -> Tensor:
    """logits / temperature, which must be above 0 (at its limit 0, `first_of_greatest` decides).

    Source: Ackley, Hinton and Sejnowski 1985, eq. 5 (Boltzmann distribution).
    """
    return logits_BK / temperature_B1.clamp(min=_COLDEST)


def keep_top_k(logits_BK: Tensor, k_B1: Tensor) -> Tensor:
    """The k greatest of each row; 0 keeps all. Source: Fan, Lewis and Dauphin 2018, section 5.4."""
    place_K = torch.arange(logits_BK.shape[-1], device=logits_BK.device)
    return logits_BK.masked_fill((place_K >= k_B1) & (k_B1 > 0), -torch.inf)


def keep_top_p(logits_BK: Tensor, p_B1: Tensor, total_B1: Tensor) -> Tensor:
    """The smallest set of likeliest tokens whose probabilities sum to p or more; 1 keeps all.

    `total` is the logarithm of the sum of all exponentials, also of tokens that are no candidates.
    Source: Holtzman et al. 2020, eq. 2.
    """
    probability_BK = (logits_BK - total_B1).exp()
    before_BK = probability_BK.cumsum(dim=-1) - probability_BK
    before_BK[:, 0] = 0.0
    return logits_BK.masked_fill((before_BK >= p_B1) & (p_B1 < 1), -torch.inf)


def keep_min_p(logits_BK: Tensor, p_B1: Tensor) -> Tensor:
    """Tokens whose probability is at least p times that of the likeliest.

    Source: Nguyen et al. 2024 (min-p), arXiv 2407.01082, section 3.
    """
    return logits_BK.masked_fill(logits_BK < logits_BK[:, :1] + p_B1.log(), -torch.inf)


def keep_typical(logits_BN: Tensor, p_B1: Tensor) -> Tensor:
    """The smallest set of tokens whose surprise is nearest to the entropy and whose probabilities sum to p or more;
    1 keeps all. The N candidates are all tokens that are left, in any order; of equally near ones the first counts.

    Source: Meister et al. 2023 (locally typical sampling), arXiv 2202.00666, eq. 6 and 7.
    """
    N = logits_BN.shape[-1]
    surprise_BN = -logits_BN.log_softmax(dim=-1)
    probability_BN = (-surprise_BN).exp()
    entropy_B1 = torch.special.entr(probability_BN).sum(dim=-1, keepdim=True)
    nearness_BN = -(surprise_BN - entropy_B1).abs()
    for count in (*CANDIDATES, N):
        nearness_BK, ids_BK = greatest(nearness_BN, count)
        nearest_BK = probability_BN.gather(-1, ids_BK)
        before_BK = nearest_BK.cumsum(dim=-1, dtype=torch.float64) - nearest_BK
        kept_BK = before_BK < p_B1
        kept_BK[:, 0] = True
        if count >= N or settled(nearness_BK, kept_BK | (p_B1 >= 1)):
            break
    removed_BN = torch.ones_like(logits_BN, dtype=torch.bool).scatter_(-1, ids_BK, ~kept_BK)
    return logits_BN.masked_fill(removed_BN & (p_B1 < 1), -torch.inf)


def settled(values_BK: Tensor, kept_BK: Tensor) -> bool:
    """Whether all that is kept of each row's candidates is greater than the last one: then nothing that is no candidate
    could have been kept in its place."""
    least_B1 = values_BK.masked_fill(~kept_BK, torch.inf).amin(dim=-1, keepdim=True)
    return bool((least_B1 > values_BK[:, -1:]).all())


def draw(logits_BK: Tensor, uniform_B1: Tensor) -> Tensor:
    """The place in each row at which the cumulative probability passes that row's number in [0, 1): (B,) int64.

    One number a token and row makes a draw independent of the other rows. Sums run in float64.
    """
    cumulative_BK = logits_BK.softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)
    total_B1 = cumulative_BK[:, -1:]
    target_B1 = torch.minimum(uniform_B1 * total_B1, total_B1.nextafter(torch.zeros_like(total_B1)))
    return torch.searchsorted(cumulative_BK, target_B1, right=True).squeeze(-1)

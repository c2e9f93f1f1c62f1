"""Two streams through the same blocks: predictions that know where a token stands, but not which it is.

The content stream h is the usual one; the query stream g begins with one vector for all tokens. In every block

    h_z(t) <- Attention(Q = h_z(t), KV = h_z(<= t)),    g_z(t) <- Attention(Q = g_z(t), KV = h_z(< t))

for the t-th token z(t) of an order. Source: arXiv 1906.08237 (XLNet), section 2.3, eq. 4, and figure 1.

B batch, T time, P predicted tokens of a row, C width.
"""

import torch
from torch import Tensor

from hanlin.model.mask import Bias, Mask, Tokens
from hanlin.model.stack import Stack

_NONE = -3
"""The document of the query stream's keys, which no prediction looks at."""


def query_stream(
    stack: Stack,
    tokens_BT: Tensor,
    ranks_BT: Tensor,
    places_BP: Tensor,
    query_id: int,
    positions_BT: Tensor | None = None,
    documents_BT: Tensor | None = None,
) -> Tensor:
    """g of the tokens at `places_BP`, (B, P, C): all that is known of each from those before it in the order.

    ranks_BT: the number of each token in the order of its row. places_BP: -1 where a row has fewer, whose g means nothing.
    query_id: the token whose vector all of g begins with. positions_BT, documents_BT: as for `Stack.hidden`. Both streams are one sequence of T + P tokens, so that blocks are as
    for any other; the order is a causal mask over ranks, and nothing looks at g.
    """
    assert stack.prefixes is None, "learned prefixes have no place in an order"
    assert set(stack.config.attention) == {"full"}, "patterns count places, and here ranks decide"
    (_, T), device = tokens_BT.shape, tokens_BT.device
    is_none_BP, places_BP = places_BP < 0, places_BP.clamp(min=0)
    if positions_BT is None:
        positions_BT = torch.arange(T, device=device).expand_as(tokens_BT)
    if documents_BT is None:
        documents_BT = torch.zeros_like(tokens_BT)
    both_tokens = torch.cat((tokens_BT, torch.full_like(places_BP, query_id)), dim=1)
    both_positions = torch.cat((positions_BT, positions_BT.gather(1, places_BP)), dim=1)
    # A query comes half a rank before its own token.
    ranks = torch.cat((2 * ranks_BT, 2 * ranks_BT.gather(1, places_BP) - 1), dim=1)
    asking_BP = documents_BT.gather(1, places_BP).masked_fill(is_none_BP, _NONE)
    asking = torch.cat((documents_BT, asking_BP), dim=1)
    seen = torch.cat((documents_BT, torch.full_like(places_BP, _NONE)), dim=1)
    mask = Mask(
        query=Tokens(ranks, both_positions, asking),
        key=Tokens(ranks, both_positions, seen),
        causal=True,
        bias=_by_place(stack.bias, ranks_BT),
    )
    x_BNC = stack.embed(both_tokens, both_positions)
    x_BNC = stack._through_blocks(x_BNC, mask, both_positions, [0], None, (), None)
    out: Tensor = stack.norm(x_BNC)[:, T:]
    return out


def _by_place(bias: Bias | None, ranks_BT: Tensor) -> Bias | None:
    """`bias`, which goes by places, asked with doubled ranks."""
    if bias is None:
        return None
    place_BT = ranks_BT.argsort(dim=1)
    return lambda query, key: bias(place_BT.gather(1, (query + 1) // 2), place_BT.gather(1, (key + 1) // 2))

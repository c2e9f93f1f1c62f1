"""Attention that costs less: which blocks of keys any query of a block can see, so that the others are left out.

The rule is the mask's own. Here it is asked of whole blocks, by the least and the greatest of their tokens'
places, positions and documents; the answer may show too much, never too little, because each part keeps the exact
rule for its own queries and keys. Packed documents are attended to one by one where that costs less still.

B batch, T query time, S key time, N blocks of queries, M blocks of keys.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from hanlin.model.mask import Mask

QUERIES, KEYS = 128, 32
"""Tokens in a block of queries, which are attended to together, and of keys."""

LONG = 512
"""Fewer queries than this are attended to as a whole."""

WORTH = 0.66
"""The share of blocks that may be seen where parts are to cost less than the whole."""

DOCUMENT = 1000
"""What a call of the kernel for one document costs beside its pairs of tokens, in pairs."""

SHARED = -2
"""The document of keys that all documents of their row see."""


class Part(NamedTuple):
    """Some queries, the blocks of keys that they can see, and the exact rule between them."""

    queries: slice
    blocks: list[int]
    mask: "Mask"


def documents(mask: "Mask") -> list["Mask"] | None:
    """The rule within each packed document, row by row, or None where the whole costs less.

    None also where a document lies in pieces, or is not all of what its tokens see. Only on a CPU: a GPU does better
    with few large calls.
    """
    documents_BT, T = mask.query.documents_BT, mask.query.count
    if documents_BT is None or documents_BT is not mask.key.documents_BT or documents_BT.device.type != "cpu":
        return None
    ends_BT = torch.ones_like(documents_BT, dtype=torch.bool)
    ends_BT[:, :-1] = documents_BT.diff(dim=1) != 0
    numbers = int((documents_BT.sort(dim=1).values.diff(dim=1) != 0).sum()) + len(documents_BT)
    ends = ends_BT.flatten().nonzero().flatten()
    lengths = ends.diff(prepend=torch.tensor([-1]))
    pairs = int((lengths**2 + DOCUMENT).sum())
    if len(ends) != numbers or (documents_BT == SHARED).any() or pairs > WORTH * documents_BT.numel() * T:
        return None
    rules = []
    for end, length in zip(ends.tolist(), lengths.tolist(), strict=True):
        row, places = end // T, slice(end % T + 1 - length, end % T + 1)
        tokens = mask.query.document(row, places)
        prefix_B1 = None if mask.prefix_B1 is None else mask.prefix_B1[row : row + 1]
        everything = not mask.causal and mask.pattern == "full"
        rules.append(replace(mask, query=tokens, key=tokens, prefix_B1=prefix_B1, everything=everything))
    return rules


def plan(mask: "Mask") -> list[Part] | None:
    """The parts of `mask`, or None where the whole costs less."""
    if mask.query.count < LONG:
        return None
    seen_NM = seen_blocks(mask, QUERIES, KEYS)
    if seen_NM.float().mean() > WORTH:
        return None
    keys = torch.split(torch.arange(mask.key.count, device=seen_NM.device), KEYS)
    parts = []
    for number, seen_M in enumerate(seen_NM.tolist()):
        queries = slice(number * QUERIES, (number + 1) * QUERIES)
        blocks = [block for block, seen in enumerate(seen_M) if seen]
        parts.append(Part(queries, blocks, mask.at(queries, torch.cat([keys[block] for block in blocks]))))
    return parts


def seen_blocks(mask: "Mask", queries: int, keys: int) -> Tensor:
    """False where no query of a block may look at any key of a block, in any row: (N, M)."""
    last_N1 = _span(mask.query.places_BT, queries)[1].unsqueeze(2)
    first_1M = _span(mask.key.places_BT, keys)[0].unsqueeze(1)
    seen = first_1M <= last_N1 if mask.causal else torch.ones_like(first_1M <= last_N1)
    if mask.prefix_B1 is not None:
        seen = seen | (first_1M < mask.prefix_B1.unsqueeze(2))
    if mask.pattern != "full":
        seen = seen & _pattern_shows(mask, queries, keys)
    if mask.key.documents_BT is not None and mask.query.documents_BT is not None:
        shared = (_span(mask.key.documents_BT, keys)[0] == SHARED).unsqueeze(1)
        seen = seen & (shared | _meet(mask.query.documents_BT, mask.key.documents_BT, queries, keys))
    return seen.any(0)


def _pattern_shows(mask: "Mask", queries: int, keys: int) -> Tensor:
    shown = _span(mask.key_is_shared_BS.int(), keys)[1].bool()[:, None]
    if mask.pattern == "block":
        own = mask.query.positions_BT // mask.window, mask.key.positions_BT // mask.window
        return shown | _meet(*own, queries, keys)
    shown = shown | _meet(mask.query.places_BT, mask.key.places_BT, queries, keys, reach=mask.window - 1)
    if mask.pattern == "global":
        shown = shown | (_span(mask.query.positions_BT, queries)[0] < mask.global_tokens)[..., None]
    return shown


def _meet(query_BT: Tensor, key_BS: Tensor, queries: int, keys: int, reach: int = 0) -> Tensor:
    """Whether a block of queries and a block of keys can have values no further apart than `reach`: (B, N, M)."""
    (q_low, q_high), (k_low, k_high) = _span(query_BT, queries), _span(key_BS, keys)
    near_below = k_low.unsqueeze(1) - reach <= q_high.unsqueeze(2)
    return near_below & (q_low.unsqueeze(2) <= k_high.unsqueeze(1) + reach)


def _span(values_BT: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The least and the greatest value of each block: (B, N) each."""
    missing = -values_BT.shape[1] % size
    whole_BT = torch.cat((values_BT, values_BT[:, -1:].expand(-1, missing)), dim=1)
    blocks_BNt = whole_BT.reshape(len(whole_BT), -1, size)
    return blocks_BNt.amin(2), blocks_BNt.amax(2)

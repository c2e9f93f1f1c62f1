"""One pass over new tokens of several cached texts, laid end to end: no padding, whatever their lengths.

N tokens of all texts, T of one, C width, H query heads, G key-value heads, D head size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from hanlin.model.block import Block
from hanlin.model.config import Pattern
from hanlin.model.decoder import Decoder
from hanlin.model.mask import Mask, cached_mask
from hanlin.model.position import Rotation
from hanlin.model.text_cache import TextCache


@dataclass(frozen=True)
class Steps:
    """What a block does before and after its attention, and the head: as the modules have it, or compiled."""

    heads: Callable[[Block, Tensor, Rotation | None], tuple[Tensor, Tensor, Tensor]] = Block.heads
    finish: Callable[[Block, Tensor, Tensor], Tensor] = Block.finish
    logits: Callable[[Decoder, Tensor], Tensor] = Decoder.logits


def flat_hidden(
    model: Decoder,
    tokens_N: Tensor,
    texts: Sequence[TextCache],
    counts: list[int],
    steps: Steps = Steps(),
) -> Tensor:
    """The normalised last hidden state of new tokens, (N, C), as `Stack.hidden` has it.

    Each text appends `counts` of `tokens_N` to what it holds, and sees nothing else. All go through the adapter that
    this thread has chosen for one row, if any.
    """
    device = tokens_N.device
    _begin(model, texts)
    lengths = [text.length for text in texts]
    places = [place for start, T in zip(lengths, counts, strict=True) for place in range(start, start + T)]
    positions_1N = torch.tensor([places], device=device)
    rotations = model.rotations(positions_1N, device)
    rules = [_rules(model, start, T, device) for start, T in zip(lengths, counts, strict=True)]
    for text, T in zip(texts, counts, strict=True):
        text.reserve(text.length + T)
    x_1NC = model.embed(tokens_N.unsqueeze(0), positions_1N)
    for layer, block in enumerate(cast(Sequence[Block], model.blocks)):
        pattern = model.config.pattern(layer)
        q_1HND, k_1GND, v_1GND = steps.heads(block, x_1NC, rotations[pattern == "sliding"])
        new = (torch.split(x_1nND, counts, dim=2) for x_1nND in (q_1HND, k_1GND, v_1GND))
        parts = zip(texts, rules, *new, strict=True)
        mixed = [_attend(block, layer, text, rule[pattern], q, k, v) for text, rule, q, k, v in parts]
        mixed_1HND = mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=2)
        x_1NC = steps.finish(block, x_1NC, mixed_1HND.transpose(1, 2).flatten(-2))
    for text, T in zip(texts, counts, strict=True):
        text.length += T
    hidden_NC: Tensor = model.norm(x_1NC)[0]
    return hidden_NC


def _begin(model: Decoder, texts: Sequence[TextCache]) -> None:
    """Put a learned prefix before the texts that hold nothing yet."""
    prefix = None if model.prefixes is None else model.prefixes.of_one_text()
    if prefix is not None:
        for text in texts:
            if text.length == 0:
                text.begin(*prefix.unbind(1))


def _rules(model: Decoder, length: int, T: int, device: torch.device) -> dict[Pattern, Mask]:
    """What each of T tokens after `length` others may see, by the pattern of a block."""
    mask = replace(cached_mask([length], T, device), bias=model.bias)
    return {
        pattern: mask.narrowed(model.config, pattern) for pattern in dict.fromkeys(model.config.attention)
    }


def _attend(
    block: Block, layer: int, text: TextCache, rule: Mask, q_1HTD: Tensor, k_1GTD: Tensor, v_1GTD: Tensor
) -> Tensor:
    """The attention of one text's new tokens to all of its own: (1, H, T, D)."""
    attention = block.attention
    k_1GSD, v_1GSD = text.append(layer, k_1GTD, v_1GTD, rule.key.count)
    return attention.attend(q_1HTD, k_1GSD, v_1GSD, rule, attention.scale, attention.softcap)

"""One head of one block, step by step, as the model's own forward pass computes it.

T time, C width, D head size.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hanlin.base.errors import RequestError
from hanlin.base.language import Text
from hanlin.model.attention import Attention, attention_scores
from hanlin.model.mask import Mask
from hanlin.model.stack import Stack


@dataclass(frozen=True)
class AttentionTrace:
    """The four steps of arXiv 1706.03762, eq. 1, in float32 on the model's device.

    1. embed: `embedded_TC`, the tokens as vectors; `read_TC`, what the block makes of them up to here; their
       queries, keys and values `q_TD`, `k_TD`, `v_TD` (k and v are those of the head's group).
    2. score: `scores_TT`, how well key s answers query t; minus infinity where t may not look.
    3. weigh: `weights_TT`, the softmax of each row.
    4. mix: `mixed_TD`, the values weighted: what the head hands on.
    """

    embedded_TC: Tensor
    read_TC: Tensor
    q_TD: Tensor
    k_TD: Tensor
    v_TD: Tensor
    scores_TT: Tensor
    weights_TT: Tensor
    mixed_TD: Tensor


def trace_attention(model: Stack, tokens_1T: Tensor, layer: int, head: int) -> AttentionTrace:
    """What head `head` of block `layer` does in a forward pass of a decoder or encoder over one text.

    `mixed_TD` is what the pass itself has computed, not a second computation. Raises `RequestError` for a layer
    or a head that the model does not have, and for a text beyond its window.
    """
    assert tokens_1T.shape[0] == 1, "one text at a time"
    assert not model.training, "dropout would hide weights"
    _check("layer", layer, len(model.blocks))
    _check("head", head, model.config.heads)
    attention = model.blocks[layer].attention
    assert isinstance(attention, Attention)
    seen: dict[str, Tensor] = {}

    def watched(
        q_BHTD: Tensor,
        k_BGSD: Tensor,
        v_BGSD: Tensor,
        mask: Mask,
        scale: float | None = None,
        softcap: float | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        mixed_BHTD = attend(q_BHTD, k_BGSD, v_BGSD, mask, scale, softcap, dropout)
        group = head * k_BGSD.shape[1] // q_BHTD.shape[1]
        scores_TT = attention_scores(q_BHTD, k_BGSD, mask, scale, softcap)[0, head]
        seen.update(q_TD=q_BHTD[0, head], k_TD=k_BGSD[0, group], v_TD=v_BGSD[0, group])
        seen.update(scores_TT=scores_TT, weights_TT=scores_TT.softmax(-1), mixed_TD=mixed_BHTD[0, head])
        return mixed_BHTD

    def embedded(_module: Any, _inputs: Any, x_BTC: Tensor) -> None:
        seen["embedded_TC"] = x_BTC[0]

    def read(_module: Any, inputs: Any) -> None:
        seen["read_TC"] = inputs[0][0]

    hooks = [model.embed.register_forward_hook(embedded), attention.register_forward_pre_hook(read)]
    attend, attention.attend = attention.attend, watched
    try:
        with torch.no_grad():
            model.hidden(tokens_1T)
    finally:
        attention.attend = attend
        for hook in hooks:
            hook.remove()
    return AttentionTrace(**{name: value.float() for name, value in seen.items()})


def _check(what: str, number: int, count: int) -> None:
    if not 0 <= number < count:
        names = {"layer": "层", "head": "头"}
        raise RequestError(
            Text(f"There is no {what} {number}: the model has {count}.", f"没有第 {number} {names[what]}：模型共有 {count}。"),
            Text(f"Give a {what} from 0 to {count - 1}.", f"请给出 0 到 {count - 1}。"),
        )  # fmt: skip

"""Pseudo-perplexity of masked language models: how surprised they are by each token, given all others of its row.

    PLL(x) = sum_i log P(x_i | x with x_i hidden)        PPPL = exp(- (1 / N) sum over rows of PLL)

Source: arXiv 1910.14659 (Salazar et al. 2020), eq. 1-3. It sees both sides of a token, so it does not compare with the
perplexity of a causal model. Each token takes a forward pass of its row.

B rows, T time, N tokens hidden at once.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hanlin.base.device import Compute
from hanlin.base.progress import track
from hanlin.batches.batch import Batch
from hanlin.evaluate.perplexity import Floats
from hanlin.generate.scoring import TOKENS_AT_ONCE
from hanlin.model.encoder import Encoder
from hanlin.tokenizer.special import SpecialIds


@dataclass(frozen=True)
class PseudoScores:
    """- PLL of each row in nats, float64, and its tokens that are not special."""

    nll_B: Floats
    tokens_B: np.ndarray

    @property
    def perplexity(self) -> float:
        """exp of the mean over tokens."""
        return float(np.exp(self.nll_B.sum() / self.tokens_B.sum()))


@torch.inference_mode()
def pseudo_scores(
    model: Encoder, rows: Batch, special: SpecialIds, compute: Compute, title: str = ""
) -> PseudoScores:
    """Hide the tokens of `rows` one at a time, all but special ones. With a `title`, progress is shown."""
    assert special.mask is not None
    assert not model.training
    is_special_BT = torch.isin(rows.tokens_BT, torch.tensor(sorted(special.all)))
    places = (~is_special_BT).nonzero()
    nll_B = np.zeros(rows.rows)
    at_once = max(1, TOKENS_AT_ONCE // rows.tokens_BT.shape[1])
    parts = torch.split(places, at_once)
    for part in track(parts, title, len(parts)) if title else parts:
        row_N, place_N = part.unbind(1)
        log_p_N = _hidden_one_by_one(model, rows, row_N, place_N, special.mask, compute)
        np.subtract.at(nll_B, row_N.numpy(), log_p_N.cpu().double().numpy())
    return PseudoScores(nll_B, (~is_special_BT).sum(1).numpy())


def _hidden_one_by_one(
    model: Encoder, rows: Batch, row_N: Tensor, place_N: Tensor, mask_id: int, compute: Compute
) -> Tensor:
    """log P of the token at each place, in a copy of its row in which it alone is hidden: (N,)."""
    index_N = torch.arange(len(row_N))
    chosen = _at(rows, row_N)
    true_N = chosen.tokens_BT[index_N, place_N].to(compute.device)
    chosen.tokens_BT[index_N, place_N] = mask_id
    chosen = chosen.to(compute.device)
    with compute.autocast():
        hidden_NTC = model.hidden(chosen.tokens_BT, chosen.positions_BT, chosen.documents_BT)
        logits_NV = model.logits(hidden_NTC[index_N, place_N])
    return logits_NV.log_softmax(-1).gather(1, true_N.unsqueeze(1)).squeeze(1)


def _at(rows: Batch, row_N: Tensor) -> Batch:
    """A copy of each of the given rows."""
    positions, documents = rows.positions_BT, rows.documents_BT
    return replace(
        rows,
        tokens_BT=rows.tokens_BT[row_N],
        targets_BT=rows.targets_BT[row_N],
        positions_BT=None if positions is None else positions[row_N],
        documents_BT=None if documents is None else documents[row_N],
    )

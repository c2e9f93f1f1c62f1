"""Rows for prefix language models: the first tokens of a row are seen by all of it, the rest is predicted.

L = - sum over t > p of log P(x_t | x_<t), x_1 .. x_p read in both directions; p is drawn evenly for each row.
Source: arXiv 1801.10198 (Liu et al. 2018) for the decoder, arXiv 1910.10683, section 3.2.1, for the name.

B rows, T row length.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from hanlin.batches.batch import IGNORE, Batch
from hanlin.batches.loader import RowSeed
from hanlin.batches.pack import PackedRows


@dataclass(frozen=True)
class PrefixRows:
    """The rows of `packed`, with prefixes of 1 .. T-1 tokens."""

    packed: PackedRows

    def __len__(self) -> int:
        return len(self.packed)

    def batch(self, rows: npt.NDArray[np.int64], seeds: Sequence[RowSeed]) -> Batch:
        """The given rows; the last token of a prefix is the first that predicts, for its target is not in sight."""
        packed, T = self.packed.batch(rows, seeds), self.packed.length
        prefix_B = torch.tensor([int(np.random.default_rng(seed).integers(1, T)) for seed in seeds])
        in_sight_BT = torch.arange(T) < prefix_B.unsqueeze(1) - 1
        return replace(
            packed, targets_BT=packed.targets_BT.masked_fill(in_sight_BT, IGNORE), prefix_B=prefix_B
        )

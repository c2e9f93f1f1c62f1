"""Rows for masked language models: framed, and other places hidden each epoch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from hanlin.batches.batch import Batch
from hanlin.batches.framed import FramedRows
from hanlin.batches.loader import RowSeed
from hanlin.batches.masking import Masking


@dataclass(frozen=True)
class MaskedRows:
    """The rows of a token stream with some tokens hidden, which are the targets. What is hidden, the seed decides."""

    framed: FramedRows
    masking: Masking

    def __len__(self) -> int:
        return len(self.framed)

    def batch(self, rows: npt.NDArray[np.int64], seeds: Sequence[RowSeed]) -> Batch:
        """The given rows, each with places hidden that its seed draws."""
        plain = self.framed.take(rows)
        hidden = [
            self.masking(ids_T, np.random.default_rng(seed))
            for ids_T, seed in zip(plain.tokens_BT.numpy(), seeds, strict=True)
        ]
        inputs, targets = zip(*hidden, strict=True)
        return replace(
            plain,
            tokens_BT=torch.from_numpy(np.stack(inputs)),
            targets_BT=torch.from_numpy(np.stack(targets)),
        )

"""Pairs of texts for encoder-decoders: what is read, and what is to be written.

B rows, S source length, T target length.
"""

from dataclasses import dataclass

from torch import Tensor

from hanlin.batches.batch import Rowed


@dataclass(frozen=True)
class SourceTarget(Rowed):
    """source_BS: ids, int64. targets_BT: ids, int64, `IGNORE` behind the end of each. source_documents_BS: -1 marks
    padding; None where there is none."""

    source_BS: Tensor
    targets_BT: Tensor
    source_documents_BS: Tensor | None = None

"""Rows of a token stream as an encoder reads them: `[CLS]` before and `[SEP]` after, where the tokenizer has them.

B rows, T row length.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.batches.batch import IGNORE, Batch
from hanlin.batches.pack import mark_documents, require_rows
from hanlin.batches.store import Ids
from hanlin.tokenizer.special import SpecialIds


@dataclass(frozen=True)
class FramedRows:
    """The rows of a token stream, nothing hidden yet and nothing asked.

    With `separate`, every document of a row is apart, its positions count from 0, and it begins with `[CLS]`. Without,
    `[SEP]` stands between documents, as in arXiv 1907.11692, section 4.2 (FULL-SENTENCES).
    """

    tokens: Ids
    length: int
    special: SpecialIds
    separate: bool = True

    def __post_init__(self) -> None:
        if self._room < 1:
            raise ConfigError(
                Text(
                    f"model.window {self.length} has room for special tokens only: nothing in a row could be hidden.",
                    f"model.window 为 {self.length}，只放得下特殊词元：一行中没有可以掩盖的内容。",
                ),
                Text("Set model.window to 8 or more.", "请把 model.window 设为 8 或更大。"),
            )
        require_rows(len(self), len(self.tokens), self._room)

    def __len__(self) -> int:
        return max(0, (len(self.tokens) - 1) // self._room)

    def take(self, rows: npt.NDArray[np.int64]) -> Batch:
        """The given rows; no target counts."""
        tokens_BT = torch.from_numpy(np.stack([self._row(int(row)) for row in rows]))
        targets_BT = torch.full_like(tokens_BT, IGNORE)
        begin_id = self.special.end if self.special.cls is None else self.special.cls
        return Batch(tokens_BT, targets_BT, *mark_documents(tokens_BT, begin_id, self.separate))

    @property
    def _room(self) -> int:
        """Tokens of the stream in a row."""
        return self.length - (self.special.cls is not None) - (self.special.sep is not None)

    def _row(self, row: int) -> npt.NDArray[np.int64]:
        cls, sep, end = self.special.cls, self.special.sep, self.special.end
        start = row * self._room
        if cls is not None and self.tokens[start] == end:
            start += 1  # the document that begins here has `[CLS]` already
        inside = self.tokens[start : start + self._room].astype(np.int64)
        if cls is not None and self.separate:
            inside[inside == end] = cls
        before, after = ([] if id is None else [id] for id in (cls, sep))
        return np.concatenate((before, inside, after)).astype(np.int64)

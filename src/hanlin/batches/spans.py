"""Span denoising: stretches of a text are taken out, and are to be written down.

Each stretch leaves a sentinel where it stood; the target is every sentinel followed by its stretch, one more sentinel,
and the end. Source: arXiv 1910.10683 (T5), sections 3.1.4 and 3.3.4, figure 2: 15 % of the tokens, three a stretch.

L tokens of text in a row, K spans, B rows, S source length, T target length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from numpy.random import Generator

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.batches.batch import IGNORE, Batch
from hanlin.batches.loader import RowSeed
from hanlin.batches.pack import require_rows
from hanlin.batches.source_target import SourceTarget
from hanlin.batches.store import Ids
from hanlin.tokenizer.special import SpecialIds

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Spans:
    """How much of a text is taken out (`share`), in stretches of `length` tokens on average."""

    share: float = 0.15
    length: float = 3.0

    def sizes(self, L: int) -> tuple[int, int]:
        """(tokens that are taken out, spans) of L tokens: the same for every row."""
        taken = min(max(1, round(L * self.share)), L - 1)
        return taken, min(max(1, round(taken / self.length)), taken, L - taken)

    def cut(self, ids_L: Ints, sentinels: Sequence[int], end: int, random: Generator) -> tuple[Ints, Ints]:
        """(source, target) of a text, which begins with a stretch that is kept."""
        taken, K = self.sizes(len(ids_L))
        kept_K, taken_K = _parts(len(ids_L) - taken, K, random), _parts(taken, K, random)
        borders = np.cumsum(np.stack((kept_K, taken_K), axis=1).ravel())[:-1]
        pieces = np.split(ids_L, borders)
        marks = [np.array([sentinel], np.int64) for sentinel in sentinels[: K + 1]]
        source = [piece for pair in zip(pieces[::2], marks, strict=False) for piece in pair]
        target = [piece for pair in zip(marks, pieces[1::2], strict=False) for piece in pair]
        return np.concatenate(source), np.concatenate([*target, marks[K], np.array([end], np.int64)])


def _parts(total: int, count: int, random: Generator) -> Ints:
    """`total` as `count` random whole numbers of at least 1; all ways to do so are alike."""
    cuts = np.sort(random.choice(total - 1, count - 1, replace=False)) + 1
    return np.diff(np.concatenate(([0], cuts, [total])))


@dataclass(frozen=True)
class SpanRows:
    """The rows of a token stream, each cut anew each epoch; the ends of documents are tokens like others.

    window: the longest source and the longest target; of a decoder, in which both stand in one row, the two together.
    The target is then what follows a prefix that all of the row sees (arXiv 2205.05131, section 3.1.2).
    """

    tokens: Ids
    window: int
    special: SpecialIds
    spans: Spans
    decoder: bool = False

    def __post_init__(self) -> None:
        if self._lengths(2) is None:
            raise ConfigError(
                Text(f"model.window {self.window} is too short for a text with a span taken out of it.",
                     f"model.window 为 {self.window}，放不下去掉一段之后的文本。"),
                Text("Set model.window to 16 or more.", "请把 model.window 设为 16 或更大。"),
            )  # fmt: skip
        needed = self.spans.sizes(self.length)[1] + 1
        if len(self.special.sentinels) < needed:
            raise ConfigError(
                Text(
                    f"spans needs {needed} sentinels in a row of {self.window} tokens; the tokenizer has {len(self.special.sentinels)}.",
                    f"在 {self.window} 个词元的一行中，spans 需要 {needed} 个哨兵词元，而分词器有 {len(self.special.sentinels)} 个。",
                ),
                Text(f"Set tokenizer.sentinels={needed}.", f"请设置 tokenizer.sentinels={needed}。"),
            )
        require_rows(len(self), len(self.tokens), self.length)

    def __len__(self) -> int:
        return max(0, (len(self.tokens) - 1) // self.length)

    @cached_property
    def length(self) -> int:
        """Tokens of text in a row: as many as fit."""
        return next(L for L in range(2 * self.window, 1, -1) if self._lengths(L) is not None)

    def batch(self, rows: npt.NDArray[np.int64], seeds: Sequence[RowSeed]) -> Batch | SourceTarget:
        """The given rows, cut as their seeds draw. All sources are as long, and all targets."""
        cut = [
            self.spans.cut(
                self.tokens[row * self.length : (row + 1) * self.length].astype(np.int64),
                self.special.sentinels,
                self.special.end,
                np.random.default_rng(seed),
            )
            for row, seed in zip(rows.tolist(), seeds, strict=True)
        ]
        source_BS, targets_BT = (torch.from_numpy(np.stack(side)) for side in zip(*cut, strict=True))
        if not self.decoder:
            return SourceTarget(source_BS, targets_BT)
        B, S = source_BS.shape
        whole = torch.cat((source_BS, targets_BT), dim=1)
        following = whole[:, 1:].clone()
        following[:, : S - 1] = IGNORE
        return Batch(whole[:, :-1], following, prefix_B=torch.full((B,), S))

    def _lengths(self, L: int) -> tuple[int, int] | None:
        """Lengths of source and target of a text of L tokens, if they fit."""
        taken, K = self.spans.sizes(L)
        source, target = L - taken + K, taken + K + 2
        longest = source + target - 1 if self.decoder else max(source, target)
        return (source, target) if longest <= self.window else None

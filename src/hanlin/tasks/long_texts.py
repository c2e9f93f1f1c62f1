"""Texts and pairs of texts for a head that judges them as a whole, and what is done with those that are too long.

N records, W rows: a record has one, or several windows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np
from torch import Tensor

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.base.records import Labelled, Scored
from hanlin.batches.labels import Places
from hanlin.batches.ragged import name_record
from hanlin.evaluate.measure import Floats, Ids
from hanlin.tasks.opened import Opened
from hanlin.tokenizer.framing import Encoding
from hanlin.tokenizer.tokenizer import Tokenizer

TooLong = Literal["truncate", "windows", "refuse"]
"""truncate: what does not fit is cut and counted. windows: the text is read in overlapping parts, and the mean of what the
head says of them is what it says of the text; each part is learned from with the answer of the whole. refuse: an error that
names the records."""

OVERLAP = 4
"""The share of a window that the next one repeats is one in so many: a sentence that one window cuts is whole in the other."""

_SHOWN = 5


@dataclass(frozen=True)
class FittedTexts:
    """rows: encodings; owner_W: the number of the record that each row is of; records: how many there are."""

    rows: list[Encoding]
    owner_W: Ids
    records: int

    @property
    def cut_N(self) -> Ids:
        """Tokens of each record that no row of it has."""
        cut_N = np.zeros(self.records, np.int64)
        np.maximum.at(cut_N, self.owner_W, [row.cut for row in self.rows])
        return cut_N

    def places(self, places: Places) -> Places:
        """Where the record of each row stands."""
        return None if places is None else [places[owner] for owner in self.owner_W]

    def means(self, said: Sequence[Tensor]) -> Floats:
        """The mean over the rows of each record: (N, ...) float64."""
        rows = np.stack([one.double().numpy() for one in said]) if said else np.empty(0)
        sums = np.zeros((self.records, *rows.shape[1:]))
        np.add.at(sums, self.owner_W, rows)
        windows_N = np.bincount(self.owner_W, minlength=self.records)
        means: Floats = sums / windows_N.reshape(-1, *[1] * (rows.ndim - 1))
        return means


def fit_texts(
    opened: Opened,
    records: Sequence[Labelled | Scored],
    max_tokens: int | None,
    too_long: TooLong,
    places: Places = None,
) -> FittedTexts:
    """The records with the special tokens around them, at most `max_tokens` and what the model's window takes.

    Raises `DataError` with `refuse` for records that are longer, and as `Tokenizer.encode_single`.
    """
    tokenizer, most = opened.tokenizer, opened.window(max_tokens)
    groups = [record.inputs for record in records]
    ids = iter(tokenizer.encode_batch(list(chain.from_iterable(groups))))
    rows, owners = list[Encoding](), list[int]()
    for number, group in enumerate(groups):
        texts = [next(ids) for _ in group]
        parts = _windows(tokenizer, texts, most) if too_long == "windows" else [texts]
        for part in parts:
            rows.append(tokenizer.framed(part, most))
            owners.append(number)
    fitted = FittedTexts(rows, np.array(owners, np.int64), len(records))
    if too_long == "refuse":
        refuse_cut(fitted.cut_N, most, places)
    return fitted


def refuse_cut(cut_N: Sequence[int] | Ids, most: int, places: Places) -> None:
    """Raise `DataError`, naming the records that have lost tokens, if there are any."""
    lost = [number for number, cut in enumerate(cut_N) if cut]
    if lost:
        some = ", ".join(f"{name_record(one, places)} (+{cut_N[one]})" for one in lost[:_SHOWN])
        more = " ..." if len(lost) > _SHOWN else ""
        raise DataError(
            Text(f"{len(lost)} records are longer than {most} tokens: {some}{more}.",
                 f"{len(lost)} 条记录超过 {most} 个词元：{some}{more}。"),
            Text("Shorten or remove them, raise task.max_tokens, or set task.too_long to truncate or windows.",
                 "请缩短或删除这些记录，或调大 task.max_tokens，或把 task.too_long 设为 truncate 或 windows。"),
        )  # fmt: skip


def _windows(tokenizer: Tokenizer, texts: list[list[int]], most: int) -> Iterator[list[list[int]]]:
    """The longer text in parts, each beside all of the other one, of which half of the room at most is kept."""
    room = most - len(tokenizer.framed([[] for _ in texts], None).ids)
    longer = max(range(len(texts)), key=lambda number: len(texts[number]))
    other = sum(len(text) for number, text in enumerate(texts) if number != longer)
    size = max(room - other, room // 2, 1)
    step = max(1, size - size // OVERLAP)
    whole = texts[longer]
    for start in range(0, max(1, len(whole) - size + step), step):
        yield [whole[start : start + size] if n == longer else text for n, text in enumerate(texts)]

"""Vectors of texts, near where texts belong together: search, likeness, duplicates. One text at a time (bi-encoder).

N records, C width.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.base.records import Matched
from hanlin.batches.labels import Places
from hanlin.batches.ragged import name_record
from hanlin.batches.views import TextPairs
from hanlin.checkpoint.sentence import Pooling, SentenceSettings, read_sentence_settings, sentence_texts
from hanlin.evaluate.measure import Floats, Measure
from hanlin.generate.embedding import SentenceEncoder, Vectors
from hanlin.objective.contrastive import Contrastive
from hanlin.objective.term import Objective
from hanlin.tasks.opened import Opened
from hanlin.tasks.ranked import (
    MOST,
    Ranked,
    are_pairs,
    candidates,
    matching_measures,
    ranking_wrongness,
)
from hanlin.tasks.task import Method, Task


class Searched(Ranked):
    """vector: of the query, of length 1. ranked: of all texts that the records given with it name, the nearest first."""

    vector: tuple[float, ...]


class Match(Task[Matched, Searched]):
    """Learned from queries and what they are to find, from pairs said to belong together or not, or from texts alone.

    Of a record without a text to be found, dropout makes two views of the query (SimCSE, arXiv 2104.08821, section 3).
    """

    kind: Literal["match"] = "match"
    pooling: Pooling | None = None
    """Which hidden state stands for a text; default: as the model's folder says, or the mean."""
    prompt: str | None = None
    """What stands before every text; default: as the model's folder says, or nothing."""
    lowercase: bool | None = None
    """Whether texts are lower-cased first; default: as the model's folder says, or not."""
    temperature: float = Field(0.05, gt=0)
    """Cosines are divided by it before the softmax over the texts of a batch."""
    symmetric: bool = False
    """Whether what is to be found learns to find its query too."""
    micro_rows: int | None = Field(None, ge=1)
    """Texts that go through the model at a time, so that a large batch fits into memory; default: all."""

    record: ClassVar[type[Matched]] = Matched
    prediction: ClassVar[type[Searched]] = Searched
    methods: ClassVar[tuple[Method, ...]] = ("full", "lora", "zero-shot")

    def begun(self, records: Sequence[Matched], places: Places = None) -> Self:
        if self.is_trained and len({record.query for record in records}) < 2:
            raise DataError(
                Text("There is one query only: nothing to tell it from.", "只有一个查询，没有可与之区分的文本。"),
                Text("Give records of at least two queries.", "请至少给出两个不同的查询。"),
            )  # fmt: skip
        return self

    def suited(self, folder: Path) -> Self:
        found = read_sentence_settings(folder, self.max_tokens or 2**31) if folder.is_dir() else None
        if found is None:
            return self
        own: dict[str, Any] = {
            "pooling": found.pooling,
            "prompt": found.prompt,
            "lowercase": found.lowercase,
            "max_tokens": found.max_tokens if found.max_tokens < 2**31 else None,
        }
        chosen = {name: value for name, value in own.items() if getattr(self, name) is None}
        return self.model_copy(update=chosen)

    def head(self) -> dict[str, Any]:
        return {"head": "none", "pooler": "none", "pooling": self.pooling or "mean"}

    def files(self, opened: Opened) -> dict[str, str]:
        return sentence_texts(self._settings(opened), opened.headed.config.width)

    def examples(self, opened: Opened, records: Sequence[Matched], places: Places = None) -> TextPairs:
        rows = list(_rows(records, places))
        encoder = self._encoder(opened)
        first, second, negative = (
            [encoder.encode(text).ids for text in column]
            for column in zip(*((one, two, near or one) for _, one, two, near in rows), strict=True)
        )
        has_negatives = any(near is not None for *_, near in rows)
        return TextPairs(
            first,
            second,
            negative if has_negatives else None,
            pad_id=opened.tokenizer.pad_id,
            places=[place for place, *_ in rows],
        )

    def objective(self, records: Sequence[Matched]) -> Objective:
        return Contrastive(self.temperature, self.symmetric, self.micro_rows)

    def predict(self, opened: Opened, records: Sequence[Matched], title: str = "") -> list[Searched]:
        texts = list(dict.fromkeys(text for one in records for text in (one.query, *candidates(one))))
        numbers = {text: number for number, text in enumerate(texts)}
        vectors_NC = self._encoder(opened).embed(texts, title).vectors_NC
        pool = (
            [] if are_pairs(records) else list(dict.fromkeys(t for one in records for t in candidates(one)))
        )
        pool_NC = vectors_NC[[numbers[text] for text in pool]]
        found = []
        for record in records:
            vector_C = vectors_NC[numbers[record.query]]
            own = vectors_NC[[numbers[text] for text in candidates(record)]] @ vector_C
            ranked = tuple(pool[place] for place in nearest(vector_C, pool_NC, MOST))
            found.append(Searched(scores=tuple(own.tolist()), ranked=ranked, vector=tuple(vector_C.tolist())))
        return found

    def measures(self, records: Sequence[Matched], predictions: Sequence[Searched]) -> tuple[Measure, ...]:
        return matching_measures(records, predictions)

    def wrongness(self, records: Sequence[Matched], predictions: Sequence[Searched]) -> Floats:
        return ranking_wrongness(records, predictions)

    def said(self, prediction: Searched) -> str:
        if prediction.ranked:
            return prediction.ranked[0]
        numbers = prediction.scores or prediction.vector[:4]
        return " ".join(f"{value:.3f}" for value in numbers)

    def _settings(self, opened: Opened) -> SentenceSettings:
        return SentenceSettings(
            self.pooling or "mean",
            True,
            opened.window(self.max_tokens),
            bool(self.lowercase),
            self.prompt or "",
        )

    def _encoder(self, opened: Opened) -> SentenceEncoder:
        return SentenceEncoder(
            opened.name, opened.headed, opened.tokenizer, opened.compute, self._settings(opened)
        )


def nearest(vector_C: Vectors, pool_NC: Vectors, most: int) -> list[int]:
    """Numbers of the rows with the greatest products, best first; of equal ones the first comes first."""
    if not len(pool_NC):
        return []
    order: list[int] = np.argsort(-(pool_NC @ vector_C), kind="stable")[:most].tolist()
    return order


def _rows(records: Sequence[Matched], places: Places) -> Iterator[tuple[str, str, str, str | None]]:
    """(place, query, what it is to find, what it is not to find) of each row that is learned from.

    A record gives as many rows as it has texts to be found, or hard negatives if those are more.
    """
    for number, record in enumerate(records):
        if not all(text.strip() for text in (record.query, *candidates(record))):
            raise _blank(name_record(number, places))
        found, near = record.found or (record.query,), record.hard_negatives or (None,)
        for row in range(max(len(found), len(near))):
            yield (
                name_record(number, places),
                record.query,
                found[row % len(found)],
                near[row % len(near)],
            )


def _blank(place: str) -> DataError:
    return DataError(
        Text(f"Record {place} has a text of nothing but blanks.", f"记录 {place} 中有空白文本。"),
        Text("Fill it in, or remove the record.", "请补上文本，或删除该记录。"),
    )

"""What tasks that match texts have in common: candidates of a record, in order, and how good that order is.

N records.
"""

from collections.abc import Sequence

import numpy as np

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.base.records import Matched, Record
from hanlin.evaluate.lexical import Bm25
from hanlin.evaluate.measure import Floats, Measure
from hanlin.evaluate.numbers import number_measures
from hanlin.evaluate.ranked import ranking_measures

MOST = 100
"""Candidates that are kept of an order."""


class Ranked(Record):
    """scores: of the record's own candidates, those to be found first, then the hard negatives. ranked: candidates, the
    best first, at most 100; whatever else was there to choose from is among them."""

    scores: tuple[float, ...] = ()
    ranked: tuple[str, ...] = ()


def candidates(record: Matched) -> tuple[str, ...]:
    """All texts that a record names beside its query."""
    return (*record.found, *record.hard_negatives)


def are_pairs(records: Sequence[Matched]) -> bool:
    """Whether records are pairs of texts, said to belong together or not, and no search."""
    return not all(record.found for record in records) and any(candidates(record) for record in records)


def matching_measures(records: Sequence[Matched], said: Sequence[Ranked]) -> tuple[Measure, ...]:
    """Of a search nDCG@10, MRR@10 and recall; of pairs the correlation of score and "they belong together".

    Spearman's is what likeness of texts is judged by (arXiv 1908.10084, section 4). Raises `DataError` where some pairs
    have several candidates, or records have none.
    """
    if not are_pairs(records):
        if not all(record.found for record in records):
            raise _nothing_to_find()
        relevant = [dict.fromkeys(record.found, 1.0) for record in records]
        return ranking_measures(relevant, [one.ranked for one in said])
    if any(len(candidates(record)) != 1 for record in records):
        raise _mixed()
    truth = [float(bool(record.found)) for record in records]
    return number_measures(truth, [one.scores[0] for one in said])[:2]


def ranked_by_words(records: Sequence[Matched]) -> list[Ranked]:
    """BM25 among all texts that the records name, instead of a model."""
    pool = list(dict.fromkeys(text for record in records for text in candidates(record)))
    numbers = {text: number for number, text in enumerate(pool)}
    scores_NP = Bm25(pool).scores([record.query for record in records])
    order_NP = np.argsort(-scores_NP, axis=1, kind="stable")[:, :MOST]
    return [
        Ranked(
            scores=tuple(float(scores_P[numbers[text]]) for text in candidates(record)),
            ranked=tuple(pool[place] for place in order_P),
        )
        for record, scores_P, order_P in zip(records, scores_NP, order_NP, strict=True)
    ]


def ranking_wrongness(records: Sequence[Matched], said: Sequence[Ranked]) -> Floats:
    """Of a search 1 - 1 / (place of the first right text), (N,); of pairs how far the score is from 1 or 0."""
    if are_pairs(records):
        return np.array([_pair_wrongness(*both) for both in zip(records, said, strict=True)])
    return np.array([_search_wrongness(*both) for both in zip(records, said, strict=True)])


def _pair_wrongness(record: Matched, said: Ranked) -> float:
    right = [1.0] * len(record.found) + [0.0] * len(record.hard_negatives)
    return max((min(1.0, abs(one - score)) for one, score in zip(right, said.scores, strict=True)), default=0)


def _search_wrongness(record: Matched, said: Ranked) -> float:
    places = (place for place, text in enumerate(said.ranked, 1) if text in record.found)
    return 1 - 1 / next(places, np.inf) if record.found else 0.0


def _nothing_to_find() -> DataError:
    return DataError(
        Text("Records name no text that is to be found, so nothing can be told of a search.",
             "记录中没有应当找到的文本，无法评判检索。"),
        Text("Examine with records that have `found`, or with pairs that are labelled.",
             "请用含有 found 的记录，或有标签的文本对来考核。"),
    )  # fmt: skip


def _mixed() -> DataError:
    return DataError(
        Text("Some records have nothing to be found and others have several candidates.",
             "有些记录没有应找到的文本，另一些却有多个候选。"),
        Text("Give either pairs, each said to belong together or not, or queries with what each is to find.",
             "请统一为带有“是否相同”标签的文本对，或带有应找文本的查询。"),
    )  # fmt: skip

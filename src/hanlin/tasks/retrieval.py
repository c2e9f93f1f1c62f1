"""A search through a whole collection examined: by words, by vectors, and by a cross-encoder over what words found.

Q queries, D documents, C width.
"""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from hanlin.base.records import Matched
from hanlin.evaluate.figures import figures
from hanlin.evaluate.lexical import Bm25
from hanlin.evaluate.ranked import ranking_measures
from hanlin.evaluate.task_results import Baseline, TaskExamination, Wrong
from hanlin.records.retrieval import Retrieval
from hanlin.tasks.examination import WORST
from hanlin.tasks.match import Match, nearest
from hanlin.tasks.opened import Opened
from hanlin.tasks.ranked import MOST
from hanlin.tasks.rerank import Rerank

DEPTH = 50
"""Documents that a cross-encoder reads of those that share words with the query."""

Orders = Sequence[Sequence[str]]
"""For each query the ids of documents, best first."""


def examine_search(
    task: Match | Rerank,
    opened: Opened,
    collection: Retrieval,
    *,
    resamples: int = 1000,
    seed: int = 0,
    title: str = "",
) -> TaskExamination:
    """How well the queries of a collection find what was judged relevant, with BM25 beside it.

    A bi-encoder orders all documents; a cross-encoder the 50 best of BM25. Documents and queries of nothing but blanks
    cannot be found.
    """
    start = time.perf_counter()
    words = search_by_words(collection)
    middle = time.perf_counter()
    found = (
        search_by_vectors(task, opened, collection, title)
        if isinstance(task, Match)
        else _reordered(task, opened, collection, words, title)
    )
    end = time.perf_counter()
    judged = [collection.judgements[query] for query in collection.queries]
    measures = ranking_measures(judged, found)
    beside = figures(ranking_measures(judged, words), resamples, seed)
    wrong = _wrong(collection, judged, found)
    return TaskExamination(
        kind=task.kind,
        method=task.method,
        task=task.model_dump(mode="json"),
        model=opened.name,
        n=len(judged),
        notes=tuple(collection.notes),
        figures=tuple(figures(measures, resamples, seed)),
        baselines=(Baseline(name="BM25", figures=tuple(beside), seconds=middle - start),),
        worst=tuple(wrong[:WORST]),
        wrong=len(wrong),
        seconds=end - middle,
    )


def search_by_words(collection: Retrieval) -> list[list[str]]:
    """BM25: at most 100 documents for each query."""
    ids = list(collection.corpus)
    scores_QD = Bm25(list(collection.corpus.values())).scores(list(collection.queries.values()))
    order_QD = np.argsort(-scores_QD, axis=1, kind="stable")[:, :MOST]
    return [[ids[place] for place in order_D] for order_D in order_QD]


def search_by_vectors(task: Match, opened: Opened, collection: Retrieval, title: str = "") -> list[list[str]]:
    """The nearest 100 documents of each query."""
    ids = [id for id, text in collection.corpus.items() if text.strip()]
    said = task.predict(opened, [Matched(query=collection.corpus[id]) for id in ids], title)
    documents_DC = np.array([one.vector for one in said], np.float32)
    asked = task.predict(opened, [Matched(query=text) for text in collection.queries.values()])
    return [
        [ids[place] for place in nearest(np.array(one.vector, np.float32), documents_DC, MOST)]
        for one in asked
    ]


def _reordered(
    task: Rerank, opened: Opened, collection: Retrieval, words: Orders, title: str
) -> list[list[str]]:
    chosen = [[id for id in ids[:DEPTH] if collection.corpus[id].strip()] for ids in words]
    records = [
        Matched(query=text, hard_negatives=tuple(collection.corpus[id] for id in ids))
        for text, ids in zip(collection.queries.values(), chosen, strict=True)
    ]
    said = task.predict(opened, records, title)
    orders = [np.argsort(-np.array(one.scores), kind="stable") for one in said]
    return [[ids[place] for place in order] for ids, order in zip(chosen, orders, strict=True)]


def _wrong(collection: Retrieval, judged: Sequence[Mapping[str, float]], found: Orders) -> list[Wrong]:
    """Queries whose first document is not relevant, those first whose first relevant one stands last."""
    wrong = []
    for (query, text), grades, ids in zip(collection.queries.items(), judged, found, strict=True):
        relevant = [id for id, grade in grades.items() if grade > 0]
        place = next((place for place, id in enumerate(ids, 1) if id in relevant), None)
        if place == 1 or not ids:
            continue
        wrong.append(
            Wrong(
                place=query,
                inputs=(text,),
                answer=collection.corpus[relevant[0]],
                said=collection.corpus[ids[0]],
                wrongness=1 - (1 / place if place else 0),
            )
        )
    return sorted(wrong, key=lambda one: -one.wrongness)

"""The order of candidates for a query, both read together (cross-encoder): slower than vectors, and sharper.

N records, P pairs of query and candidate.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.base.records import Matched
from hanlin.batches.labelled import LabelledTexts
from hanlin.batches.labels import Places, numbers
from hanlin.batches.ragged import name_record
from hanlin.evaluate.measure import Floats, Measure
from hanlin.objective.judged import judgements
from hanlin.objective.relevance import Relevance
from hanlin.objective.term import Objective
from hanlin.tasks.opened import Opened
from hanlin.tasks.passes import passed
from hanlin.tasks.ranked import MOST, Ranked, are_pairs, candidates, matching_measures, ranking_wrongness
from hanlin.tasks.task import Method, Task

Pair = tuple[str, str, float, str]
"""Query, candidate, 1 if they belong together, and the place of the record."""


class Reranked(Ranked):
    """scores: probabilities that each candidate is what the query looks for."""


class Rerank(Task[Matched, Reranked]):
    """Learned from what queries are to find, and from what they are not: hard negatives, or texts of other records."""

    kind: Literal["rerank"] = "rerank"
    negatives: int = Field(4, ge=1)
    """Wrong candidates that a query learns from at least: where its hard negatives are fewer, others' texts are drawn."""
    candidates: int = Field(20, ge=2)
    """Candidates that a query without hard negatives is examined with: its own and those of other records."""
    seed: int = Field(0, ge=0)
    """Of what is drawn."""

    record: ClassVar[type[Matched]] = Matched
    prediction: ClassVar[type[Reranked]] = Reranked
    methods: ClassVar[tuple[Method, ...]] = ("full", "lora", "zero-shot")

    def begun(self, records: Sequence[Matched], places: Places = None) -> Self:
        if self.is_trained and not any(record.found for record in records):
            raise DataError(
                Text("No record says what is to be found.", "没有任何记录说明应当找到什么。"),
                Text("Give records with `found`, or pairs labelled as the same.", "请给出含 found 的记录，或标为相同的文本对。"),
            )  # fmt: skip
        return self

    def head(self) -> dict[str, Any]:
        return {"head": "regress"}

    def examples(self, opened: Opened, records: Sequence[Matched], places: Places = None) -> LabelledTexts:
        given = are_pairs(records)
        wanted = [0 if given else self.negatives - len(record.hard_negatives) for record in records]
        rows: list[Pair] = []
        for number, (record, others) in enumerate(zip(records, self._drawn(records, wanted), strict=True)):
            place = name_record(number, places)
            rows += [(record.query, text, 1.0, place) for text in record.found]
            rows += [(record.query, text, 0.0, place) for text in (*record.hard_negatives, *others)]
        return self._texts(opened, rows)

    def objective(self, records: Sequence[Matched]) -> Objective:
        return Relevance()

    def predict(self, opened: Opened, records: Sequence[Matched], title: str = "") -> list[Reranked]:
        given = any(record.hard_negatives for record in records)
        wanted = [0 if given else self.candidates - len(record.found) for record in records]
        drawn = self._drawn(records, wanted)
        texts = [(*candidates(one), *others) for one, others in zip(records, drawn, strict=True)]
        rows = [(one.query, text, 0.0, "") for one, own in zip(records, texts, strict=True) for text in own]
        if not rows:
            return [Reranked() for _ in records]
        model = opened.headed
        examples = self._texts(opened, rows)
        said = passed(opened, examples, lambda batch: judgements(model, batch.inputs, "regress"), title)
        odds_P = np.array([float(one) for one in said])
        ends = np.cumsum([len(own) for own in texts])[:-1]
        return [
            _reranked(record, own, odds)
            for record, own, odds in zip(records, texts, np.split(odds_P, ends), strict=True)
        ]

    def measures(self, records: Sequence[Matched], predictions: Sequence[Reranked]) -> tuple[Measure, ...]:
        return matching_measures(records, predictions)

    def wrongness(self, records: Sequence[Matched], predictions: Sequence[Reranked]) -> Floats:
        return ranking_wrongness(records, predictions)

    def said(self, prediction: Reranked) -> str:
        if len(prediction.scores) == 1:
            return f"{prediction.scores[0]:.3f}"
        return prediction.ranked[0] if prediction.ranked else ""

    def _drawn(self, records: Sequence[Matched], wanted: Sequence[int]) -> list[tuple[str, ...]]:
        """For each record, up to so many texts that other records find, less those that it has itself."""
        pool = list(dict.fromkeys(text for record in records for text in record.found))
        random = np.random.default_rng(self.seed)
        drawn = []
        for record, most in zip(records, wanted, strict=True):
            own = {record.query, *candidates(record)}
            some = random.permutation(len(pool))[: max(0, most) + len(own)]
            drawn.append(tuple(pool[place] for place in some if pool[place] not in own)[: max(0, most)])
        return drawn

    def _texts(self, opened: Opened, rows: Sequence[Pair]) -> LabelledTexts:
        tokenizer, most = opened.tokenizer, opened.window(self.max_tokens)
        encodings = [tokenizer.encode_pair(query, text, max_length=most) for query, text, *_ in rows]
        labels, places = numbers([label for *_, label, _ in rows]), [place for *_, place in rows]
        return LabelledTexts(encodings, labels, tokenizer.pad_id, places=places)


def _reranked(record: Matched, texts: Sequence[str], odds_P: Floats) -> Reranked:
    order = np.argsort(-odds_P, kind="stable")[:MOST]
    own = 1 / (1 + np.exp(-odds_P[: len(candidates(record))]))
    return Reranked(scores=tuple(own.tolist()), ranked=tuple(texts[place] for place in order))

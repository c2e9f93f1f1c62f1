"""From texts to tags, as every task does that judges single tokens or words.

L places of a text (its words, or its tokens), K tags, T tokens.
"""

from collections.abc import Collection, Hashable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.base.records import Record
from hanlin.batches.bio import is_bio
from hanlin.batches.labels import Places
from hanlin.batches.ragged import Inputs, name_record
from hanlin.batches.token_rows import TokenRows
from hanlin.evaluate.found import found_by_kind, found_measures, macro_f1_of_kinds
from hanlin.evaluate.measure import Floats, Measure
from hanlin.objective.crf import best_sequence, forbidden_transitions, marginals, transitions_of
from hanlin.tasks.opened import Opened
from hanlin.tasks.passes import passed

KINDS_SHOWN = 20
"""Of more kinds than this only the mean has a figure."""


class FoundSpan(Record):
    """Words, or characters, `start` to `stop` - 1. probability: that of the least certain of its tags."""

    start: int
    stop: int
    kind: str
    text: str
    probability: float


def scores_of_tokens(
    opened: Opened, texts: Sequence[list[int]], max_tokens: int | None, overlap: int, title: str
) -> list[Tensor]:
    """What the head tag says of each token of each text, (T, K), a long text being read in windows."""
    rows = TokenRows(texts, opened.tokenizer, opened.window(max_tokens), overlap=overlap)
    model = opened.headed

    def judge(inputs: Inputs) -> Tensor:
        said: Tensor = model(inputs.tokens_BT, inputs.positions_BT, inputs.documents_BT)
        return said

    return rows.joined(passed(opened, rows, judge, title), model.config.labels)


@torch.inference_mode()
def decoded(
    opened: Opened, scores: Sequence[Tensor], valid_only: bool
) -> list[tuple[list[int], list[float]]]:
    """The tags of each text, (L, K) scores, and how probable each is.

    A CRF gives the most probable sequence and the marginal probability of each tag. Else every place is judged alone, but
    with `valid_only`, tags of spans are the most probable sequence among those that are valid.
    """
    model = opened.headed
    names = model.config.label_names
    if model.config.crf:
        transitions_JJ = transitions_of(model).cpu()
    elif valid_only and is_bio(names):
        transitions_JJ = forbidden_transitions(names)
    else:
        transitions_JJ = torch.zeros(model.config.labels + 1, model.config.labels + 1)
    found = list[tuple[list[int], list[float]]]()
    for scores_LK in scores:
        tags = best_sequence(scores_LK.log_softmax(1), transitions_JJ)
        if model.config.crf and tags:
            chances_LK = marginals(scores_LK, transitions_JJ)
        else:
            chances_LK = scores_LK.softmax(1)
        found.append((tags, chances_LK[torch.arange(len(tags)), tags].tolist()))
    return found


def span_figures(
    truth: Sequence[Collection[Hashable]], said: Sequence[Collection[Hashable]]
) -> tuple[Measure, ...]:
    """F1, precision and recall of spans, as CoNLL counts them, and F1 of each kind. The last part of a span is its kind."""
    measures: list[Measure] = [*found_measures(truth, said)]
    kinds = {_kind(span) for spans in (*truth, *said) for span in spans}
    if len(kinds) > 1:
        measures.append(macro_f1_of_kinds(truth, said, _kind))
    if 1 < len(kinds) <= KINDS_SHOWN:
        by_kind = found_by_kind(truth, said, _kind)
        measures += [Measure(f"f1_{kind}", of[0].of, of[0].n) for kind, of in by_kind.items()]
    return tuple(measures)


def set_wrongness(truth: Sequence[set[Any]], said: Sequence[set[Any]]) -> Floats:
    """1 - F1 of the set of each record; 0 where there is nothing and nothing was said."""
    return np.array(
        [
            1 - 2 * len(one & other) / (len(one) + len(other)) if one or other else 0.0
            for one, other in zip(truth, said, strict=True)
        ]
    )


def not_known(number: int, places: Places, en: str, zh: str) -> DataError:
    """A training record that lacks what is to be learned."""
    where = name_record(number, places)
    return DataError(
        Text(f"Record {where} {en}.", f"记录 {where} {zh}。"),
        Text("Fill it in, or remove the record.", "请补上，或删除该记录。"),
    )


def _kind(span: Hashable) -> str:
    return str(cast(tuple[Hashable, ...], span)[-1])

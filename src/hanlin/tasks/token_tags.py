"""From texts to tags, as every task does that judges single tokens or words.

L places of a text (its words, or its tokens), K tags, T tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.batches.bio import is_bio
from hanlin.batches.labels import Places
from hanlin.batches.ragged import Inputs, name_record
from hanlin.batches.token_rows import TokenRows
from hanlin.objective.crf import best_sequence, forbidden_transitions, marginals, transitions_of
from hanlin.tasks.opened import Opened
from hanlin.tasks.passes import passed


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


def not_known(number: int, places: Places, en: str, zh: str) -> DataError:
    """A training record that lacks what is to be learned."""
    where = name_record(number, places)
    return DataError(
        Text(f"Record {where} {en}.", f"记录 {where} {zh}。"),
        Text("Fill it in, or remove the record.", "请补上，或删除该记录。"),
    )

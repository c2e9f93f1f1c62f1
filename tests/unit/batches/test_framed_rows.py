"""Rows as encoders read them, and what is drawn for them."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from hanlin.base.errors import ConfigError, DataError
from hanlin.batches.batch import IGNORE
from hanlin.batches.framed import FramedRows
from hanlin.batches.loader import Loader
from hanlin.batches.masked import MaskedRows
from hanlin.batches.masking import Masking
from hanlin.batches.permuted import PermutedRows
from teaching import SPECIAL, VOCABULARY, repeating

#                  sep                      sep               sep
STREAM = np.array([1, 20, 21, 22, 23, 24, 1, 25, 26, 27, 1], np.uint16)
PLAIN = replace(SPECIAL, cls=None, sep=None)  # a tokenizer without [CLS] and [SEP]


def take(rows, separate=True, special=SPECIAL, stream=STREAM):
    framed = FramedRows(stream, 6, special, separate)
    return framed, framed.take(np.array(rows))


def test_rows_by_hand():
    framed, batch = take([0, 1])
    assert len(framed) == 2
    # Row 0 begins with a document, whose [CLS] it has; row 1 goes on with it, and another begins.
    assert batch.tokens_BT.tolist() == [[2, 20, 21, 22, 23, 1], [2, 23, 24, 2, 25, 1]]
    assert batch.documents_BT.tolist() == [[1] * 6, [1, 1, 1, 2, 2, 2]]
    assert batch.positions_BT.tolist() == [[0, 1, 2, 3, 4, 5], [0, 1, 2, 0, 1, 2]]
    assert (batch.targets_BT == IGNORE).all()
    assert batch.tokens_BT.dtype == torch.int64


def test_documents_together_have_a_separator_between_them():
    _, batch = take([1], separate=False)
    assert batch.tokens_BT.tolist() == [[2, 23, 24, 1, 25, 1]]
    assert (batch.documents_BT, batch.positions_BT) == (None, None)


def test_a_tokenizer_without_frame_has_plain_rows():
    _, batch = take([0, 0], special=PLAIN)
    assert batch.tokens_BT[0].tolist() == [1, 20, 21, 22, 23, 24]


def test_nothing_of_the_text_is_left_out():
    stream = repeating(documents=9, length=11)
    framed = FramedRows(stream, 8, SPECIAL)
    seen = [
        id for row in framed.take(np.arange(len(framed))).tokens_BT[:, 1:-1].tolist() for id in row if id > 11
    ]
    text = [id for id in stream.tolist() if id > 11]
    assert len(seen) >= len(text) - 8  # the rest of the split fills no row
    assert set(seen) == set(text)


def test_too_little_text_or_room_is_said():
    with pytest.raises(DataError, match="11 tokens; one row needs 15"):
        FramedRows(STREAM, 16, SPECIAL)
    with pytest.raises(ConfigError, match="room for special tokens only"):
        FramedRows(STREAM, 2, SPECIAL)
    assert len(FramedRows(STREAM, 2, PLAIN)) == 5


def rows_of(kind):
    framed = FramedRows(repeating(), 24, SPECIAL)
    if kind == "masked":
        return MaskedRows(framed, Masking(SPECIAL.mask, VOCABULARY, SPECIAL.all))
    return PermutedRows(framed, 0.25)


@pytest.mark.parametrize("kind", ["masked", "permuted"])
def test_what_is_drawn_depends_on_seed_epoch_and_row_alone(kind):
    examples = rows_of(kind)
    batches = {rows: list(islice(Loader(examples, rows=rows).stream(0), 12 // rows)) for rows in (1, 3, 12)}
    for name in ("targets_BT", "tokens_BT") if kind == "masked" else ("targets_BP", "ranks_BT", "places_BP"):
        whole = [torch.cat([getattr(batch, name) for batch in some]) for some in batches.values()]
        assert torch.equal(whole[0], whole[1])
        assert torch.equal(whole[0], whole[2])
    field = "targets_BT" if kind == "masked" else "ranks_BT"
    rows = np.arange(4)
    again, epoch, seed = (
        getattr(examples.batch(rows, [(seed, epoch, row) for row in range(4)]), field)
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    )
    assert torch.equal(again, getattr(examples.batch(rows, [(0, 0, row) for row in range(4)]), field))
    assert not torch.equal(again, epoch)
    assert not torch.equal(again, seed)


def test_an_order_puts_special_tokens_first_and_predicts_its_end():
    examples = rows_of("permuted")
    batch = next(Loader(examples, rows=32).stream(0))
    special = torch.isin(batch.tokens_BT, torch.tensor(sorted(SPECIAL.all)))
    documents = torch.zeros_like(batch.tokens_BT) if batch.documents_BT is None else batch.documents_BT
    for row in range(32):
        ranks = batch.ranks_BT[row]
        assert sorted(ranks.tolist()) == list(range(24))
        assert ranks[special[row]].max() < ranks[~special[row]].min()
        places = batch.places_BP[row][batch.targets_BP[row] != IGNORE]
        assert torch.equal(batch.tokens_BT[row, places], batch.targets_BP[row][: len(places)])
        assert (ranks[places] >= 24 - 6).all()
        for place in places:  # something of its document comes before each
            same = documents[row] == documents[row, place]
            assert (ranks[same] < ranks[place]).any()
    assert (batch.targets_BP != IGNORE).sum() > 32 * 6 * 0.95
    assert (batch.places_BP[batch.targets_BP == IGNORE] == -1).all()


def test_a_document_of_one_token_has_nothing_to_be_predicted_from():
    special = replace(PLAIN, all=frozenset({1}))
    stream = np.array([1, 20, 21, 22, 23, 1, 24, 25, 26, 27], np.uint16)
    batch = PermutedRows(FramedRows(stream, 3, special), 1.0).batch(np.array([1]), [(0, 0, 1)])
    assert batch.tokens_BT.tolist() == [[22, 23, 1]]
    assert len(batch.targets_BP[batch.targets_BP != IGNORE]) == 1  # of 22 and 23 one comes first

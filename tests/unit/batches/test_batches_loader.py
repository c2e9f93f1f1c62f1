from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hanlin.base.errors import ConfigError, DataError
from hanlin.batches.batch import Batch
from hanlin.batches.loader import Loader
from hanlin.batches.pack import PackedRows, count_rows, pack

BEGIN = 0
#        0      1  2  3      4      5  6      7      8  9 10 11     12
STREAM = np.array([BEGIN, 5, 6, 7, BEGIN, 8, 9, BEGIN, 4, 3, 2, 1, BEGIN], np.uint16)


def rows(*chosen):
    return np.array(chosen, np.int64)


def test_packing_by_hand():
    batch = pack(STREAM, rows(1, 0), 6, BEGIN, separate=True)
    assert batch.tokens_BT.tolist() == [[9, 0, 4, 3, 2, 1], [0, 5, 6, 7, 0, 8]]
    assert batch.targets_BT.tolist() == [[0, 4, 3, 2, 1, 0], [5, 6, 7, 0, 8, 9]]
    # The first row begins inside a document; its positions count from the row's begin.
    assert batch.positions_BT.tolist() == [[0, 0, 1, 2, 3, 4], [0, 1, 2, 3, 0, 1]]
    assert batch.documents_BT.tolist() == [[0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 2, 2]]
    assert batch.tokens_BT.dtype == batch.targets_BT.dtype == torch.int64


def test_documents_are_marked_only_where_one_begins_inside_a_row():
    assert pack(STREAM, rows(1, 0), 6, BEGIN, separate=False).documents_BT is None
    begins_first = pack(STREAM, rows(0), 4, BEGIN, separate=True)
    assert begins_first.tokens_BT.tolist() == [[0, 5, 6, 7]]
    assert (begins_first.positions_BT, begins_first.documents_BT) == (None, None)


@given(st.lists(st.integers(0, 3), min_size=9, max_size=40), st.integers(2, 8))
def test_positions_and_documents_agree_with_a_plain_loop(ids, length):
    stream = np.array(ids, np.uint16)
    chosen = np.arange(count_rows(stream, length))
    batch = pack(stream, chosen, length, BEGIN, separate=True)
    for row in range(batch.rows):
        position = document = 0
        for time in range(length):
            token = ids[row * length + time]
            assert batch.tokens_BT[row, time] == token
            assert batch.targets_BT[row, time] == ids[row * length + time + 1]
            begins = token == BEGIN
            position, document = (0 if begins or time == 0 else position + 1), document + begins
            if batch.positions_BT is None:
                assert not begins or time == 0
            else:
                assert (batch.positions_BT[row, time], batch.documents_BT[row, time]) == (position, document)


@pytest.mark.parametrize("separate", [True, False])
def test_a_split_batch_is_the_same_rows(separate):
    batch = pack(STREAM, rows(0, 1, 0, 1, 1), 6, BEGIN, separate)
    parts = batch.to(torch.device("cpu")).split(2)
    assert [part.rows for part in parts] == [2, 2, 1]
    for name in ("tokens_BT", "targets_BT", "positions_BT", "documents_BT"):
        whole, pieces = getattr(batch, name), [getattr(part, name) for part in parts]
        assert all(p is None for p in pieces) if whole is None else torch.equal(torch.cat(pieces), whole)


# Every token of this stream is its own number, so the first token of a row names the row.
COUNTING = np.arange(1, 1 + 7 * 4 + 3, dtype=np.uint16)


def loader(seed=0, rows=2, **changed):
    return Loader(PackedRows(COUNTING, 4, BEGIN), rows=rows, seed=seed, **changed)


def order(batches):
    return [(row - 1) // 4 for batch in batches for row in batch.tokens_BT[:, 0].tolist()]


def take(loader, count, taken=0):
    return list(islice(loader.stream(taken), count))


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 10])
def test_every_row_comes_exactly_once_an_epoch_whatever_the_batch(rows):
    seen = order(take(loader(rows=rows), 21))
    for epoch in range(len(seen) // 7):
        assert Counter(seen[epoch * 7 : epoch * 7 + 7]) == Counter(range(7))


def test_the_order_does_not_depend_on_the_batch():
    assert (
        order(take(loader(rows=2), 21)) == order(take(loader(rows=3), 14)) == order(take(loader(rows=1), 42))
    )


def test_epochs_and_seeds_differ():
    seen = order(take(loader(rows=7), 3))
    epochs = [seen[:7], seen[7:14], seen[14:]]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert order(take(loader(seed=1, rows=7), 1)) != epochs[0]
    assert order(take(loader(seed=0, rows=7), 1)) == epochs[0]


@pytest.mark.parametrize("rows", [2, 5])
def test_the_rows_taken_say_where_to_go_on(rows):
    uninterrupted = take(loader(rows=rows), 9)
    for at in range(1, 9):
        for batch, expected in zip(
            take(loader(rows=rows), 9 - at, at * rows), uninterrupted[at:], strict=True
        ):
            assert torch.equal(batch.tokens_BT, expected.tokens_BT)
            assert torch.equal(batch.targets_BT, expected.targets_BT)


@pytest.mark.parametrize("ranks", [2, 3])
def test_processes_share_the_rows_of_one(ranks):
    whole = take(loader(rows=6), 5)
    shares = [take(loader(rows=6, rank=rank, ranks=ranks), 5) for rank in range(ranks)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert torch.equal(torch.cat([part.tokens_BT for part in parts]), batch.tokens_BT)


def test_rows_that_cannot_be_shared_out_are_refused():
    with pytest.raises(ConfigError, match="3 rows cannot be divided among 2"):
        loader(rows=3, ranks=2)


class Drawn:
    """Examples that are what is drawn for them."""

    def __len__(self):
        return 7

    def batch(self, rows, seeds):
        drawn = [np.random.default_rng(seed).integers(1 << 40) for seed in seeds]
        return Batch(torch.from_numpy(rows)[:, None], torch.tensor(drawn)[:, None])


def test_what_is_drawn_for_a_row_depends_on_seed_epoch_and_row_alone():
    def drawn(batches):
        return [
            pair
            for batch in batches
            for pair in zip(batch.tokens_BT[:, 0].tolist(), batch.targets_BT[:, 0].tolist(), strict=True)
        ]

    by_two, by_seven = (drawn(take(Loader(Drawn(), rows=rows), 14 // rows)) for rows in (2, 7))
    assert by_two == by_seven
    assert len(set(by_two)) == 14  # another draw in another epoch
    assert drawn(Loader(Drawn(), rows=3).once()) == drawn(Loader(Drawn(), rows=7).once())


def test_evaluation_sees_every_row_once_in_order():
    assert order(loader().once()) == list(range(7))
    assert order(loader(rows=3).once(limit=4)) == list(range(4))
    assert [batch.rows for batch in loader(rows=3).once()] == [3, 3, 1]


@pytest.mark.parametrize(("tokens", "total"), [(4, 0), (5, 1), (8, 1), (9, 2)])
def test_a_row_needs_one_token_more_than_its_length(tokens, total):
    assert count_rows(COUNTING[:tokens], 4) == total


def test_a_split_too_short_for_one_row_is_refused():
    with pytest.raises(DataError, match="The split has 4 tokens; one row needs 5") as caught:
        PackedRows(COUNTING[:4], 4, BEGIN)
    assert "model.window" in caught.value.remedy.en


def test_a_store_feeds_the_loader(made):
    batch = next(Loader(PackedRows(made.store.tokens("train"), 100, made.store.begin_id), rows=3).stream(0))
    assert isinstance(batch, Batch)
    assert batch.documents_BT is not None
    assert batch.tokens_BT.shape == (3, 100)

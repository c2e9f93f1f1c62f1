"""Texts of unequal length: padded and packed hold the same, and can be split at any text."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetuning import every_row, gradients, same, tiny
from hanlin.base.errors import DataError, RequestError
from hanlin.batches.batch import IGNORE
from hanlin.batches.buckets import bucketed
from hanlin.batches.labelled import LabelledTexts
from hanlin.batches.loader import Loader
from hanlin.batches.ragged import Lengths, check_not_empty, lay_batch, lay_inputs
from hanlin.objective.causal import Causal
from hanlin.tokenizer.framing import Encoding

TEXTS = [[3, 1, 4], [1, 5], [9, 2, 6, 5, 3]]
TARGETS = [[1, 4, IGNORE], [5, IGNORE], [2, 6, 5, 3, IGNORE]]


def test_both_layouts_by_hand():
    padded = lay_batch(TEXTS, TARGETS, "padded", 7, segments=[[0, 0, 1], [0, 1], [0] * 5])
    assert padded.tokens_BT.tolist() == [[3, 1, 4, 7, 7], [1, 5, 7, 7, 7], [9, 2, 6, 5, 3]]
    assert padded.targets_BT[1].tolist() == [5, *[IGNORE] * 4]
    assert padded.documents_BT.tolist() == [[0, 0, 0, -1, -1], [0, 0, -1, -1, -1], [0] * 5]
    assert padded.segments_BT[0].tolist() == [0, 0, 1, 0, 0]
    assert (padded.positions_BT, padded.rows) == (None, 3)
    packed = lay_batch(TEXTS, TARGETS, "packed", 7, segments=[[0, 0, 1], [0, 1], [0] * 5])
    assert packed.tokens_BT.tolist() == [[3, 1, 4, 1, 5, 9, 2, 6, 5, 3]]
    assert packed.positions_BT.tolist() == [[0, 1, 2, 0, 1, 0, 1, 2, 3, 4]]
    assert packed.documents_BT.tolist() == [[0, 0, 0, 1, 1, 2, 2, 2, 2, 2]]
    assert packed.segments_BT.tolist() == [[0, 0, 1, 0, 1, 0, 0, 0, 0, 0]]
    assert (packed.rows, packed.tokens, padded.tokens) == (3, 10, 15)


def test_texts_of_one_length_need_no_mark():
    assert lay_inputs([[1, 2], [3, 4]], "padded", 0).documents_BT is None


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=7), st.integers(1, 8)
)
def test_a_split_batch_is_its_texts(texts, rows):
    packed = lay_inputs(texts, "packed", 0)
    pieces = packed.split(rows)
    assert [piece.rows for piece in pieces] == [len(texts[i : i + rows]) for i in range(0, len(texts), rows)]
    for number, piece in enumerate(pieces):
        expected = lay_inputs(texts[number * rows : (number + 1) * rows], "packed", 0)
        for name in ("tokens_BT", "positions_BT", "documents_BT"):
            assert torch.equal(getattr(piece, name), getattr(expected, name)), name


def test_apart_is_the_padded_form():
    packed, padded = lay_inputs(TEXTS, "packed", 0), lay_inputs(TEXTS, "padded", 0)
    apart_BTC, documents_BT = packed.apart(packed.tokens_BT.unsqueeze(2))
    assert torch.equal(apart_BTC.squeeze(2), padded.tokens_BT)
    assert torch.equal(documents_BT >= 0, padded.documents_BT >= 0)
    assert padded.apart(apart_BTC) == (apart_BTC, padded.documents_BT)


@pytest.mark.parametrize("position", ["rotary", "learned"])
def test_padded_packed_and_single_texts_have_one_loss_and_gradient(position):
    model = tiny("llama", position=position)
    each = [lay_batch([text], [target], "padded", 0) for text, target in zip(TEXTS, TARGETS, strict=True)]
    whole = gradients(model, Causal(), each)
    for layout in ("padded", "packed"):
        batch = lay_batch(TEXTS, TARGETS, layout, 0)
        same(whole, gradients(model, Causal(), [batch]))
        same(whole, gradients(model, Causal(), batch.split(2)))


def test_a_packed_row_may_be_longer_than_the_window_but_no_text_may():
    model = tiny("llama", window=4)
    lay_batch(TEXTS[:2], TARGETS[:2], "packed", 0)
    Causal().loss(model, lay_batch(TEXTS[:2], TARGETS[:2], "packed", 0))
    with pytest.raises(RequestError, match="5 tokens"):
        Causal().loss(model, lay_batch(TEXTS, TARGETS, "packed", 0))


def encodings(lengths):
    return [Encoding([5] * length, [0] * length, [0] * length, cut=0) for length in lengths]


@pytest.mark.parametrize("rows", [3, 8, 16])
def test_buckets_hold_every_row_once_an_epoch_and_little_padding(rows):
    lengths = np.random.default_rng(0).integers(2, 60, 101)
    examples = LabelledTexts(encodings(lengths), np.arange(101), pad_id=0, layout="padded")
    loader = Loader(examples, rows=rows, sizes=examples.sizes)
    stream, seen, places, again = loader.stream(0), [], 0, loader.stream(2 * rows)
    for number in range(303 // rows):
        batch = next(stream)
        seen += batch.labels.tolist()
        places += batch.tokens
        if number >= 2:  # resumed after two batches, the order is the same
            assert next(again).labels.tolist() == batch.labels.tolist()
    for epoch in range(len(seen) // 101):
        assert sorted(seen[epoch * 101 : (epoch + 1) * 101]) == list(range(101))
    mixed = Loader(examples, rows=rows).stream(0)
    assert places < 0.9 * sum(next(mixed).tokens for _ in range(303 // rows))
    assert seen[:101] != sorted(seen[:101], key=lambda row: lengths[row])


def test_fewer_rows_than_a_batch_stay_in_random_order():
    order = np.array([2, 0, 1])
    assert bucketed(order, np.array([5, 1, 9]), 8, 3, np.random.default_rng(0)).tolist() == [2, 0, 1]


def test_lengths_are_reported():
    assert Lengths.of(TEXTS, [0, 4, 1]) == Lengths(3, 10, 5, cut_records=2, cut_tokens=5)


def test_an_empty_record_is_named():
    with pytest.raises(DataError, match=r"a\.jsonl:7"):
        check_not_empty([[1], []], ["a.jsonl:2", "a.jsonl:7"])
    with pytest.raises(DataError, match="no record"):
        check_not_empty([], None)


def test_what_a_row_becomes_does_not_depend_on_the_batch():
    examples = LabelledTexts(encodings([3, 5, 2, 4]), np.arange(4), pad_id=0)
    whole = every_row(examples)
    for row, piece in enumerate(whole.split(1)):
        alone = every_row(examples, [row])
        assert torch.equal(piece.inputs.tokens_BT, alone.inputs.tokens_BT)
        assert torch.equal(piece.inputs.positions_BT, alone.inputs.positions_BT)
        assert torch.equal(piece.labels, alone.labels)

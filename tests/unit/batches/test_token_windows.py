"""Long texts in windows: every place once, no span in parts, words that a vocabulary joins; tags in both schemes."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetuning import every_row
from hanlin.batches.batch import IGNORE
from hanlin.batches.bio import bio_tags, first_invalid, is_bio, is_bioes, may_follow, spans, write_tags
from hanlin.batches.ragged import lay_batch
from hanlin.batches.tagged import Tagged, TaggedTexts
from hanlin.batches.token_rows import TokenRows
from hanlin.batches.windows import windows
from hanlin.tokenizer.bpe import train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.wordpiece import train_wordpiece

LINES = ["Lu Xun was born in Shaoxing. ", "鲁迅生于绍兴，后来到北京。", "unbelievable believe "] * 8


def saved(trained, model, folder):
    save_tokenizer(trained, model, folder)
    return Tokenizer.load(folder)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    settings = TokenizerConfig(model="wordpiece", vocab_size=260, on_small="shrink")
    return saved(train_wordpiece(LINES, settings), "wordpiece", tmp_path_factory.mktemp("window-wordpiece"))


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A vocabulary that joins Chinese characters: 绍兴 is one token."""
    settings = TokenizerConfig(vocab_size=400, on_small="shrink")
    trained = train_bpe([*LINES, *["绍兴，在绍兴。去绍兴！"] * 8], settings)
    return saved(trained, "bpe", tmp_path_factory.mktemp("window-bpe"))


@given(st.integers(0, 60), st.integers(2, 12), st.data())
def test_every_place_belongs_to_the_window_that_sees_most_around_it(length, room, data):
    overlap = data.draw(st.integers(0, room // 2))
    found = windows(length, room, overlap)
    assert [place for one in found for place in range(one.first, one.last)] == list(range(length))
    assert all(one.stop - one.start <= room for one in found)
    assert all(a.stop - b.start >= overlap for a, b in itertools.pairwise(found))
    for one in found:
        for place in range(one.first, one.last):
            around = [min(place - each.start, each.stop - 1 - place) for each in found]
            assert min(place - one.start, one.stop - 1 - place) >= max(around) - 1


def test_scores_of_windows_are_joined_as_if_the_text_were_one(bert):
    texts = [list(range(10, 10 + length)) for length in (23, 0, 4)]
    rows = TokenRows(texts, bert, 10, overlap=3)
    assert (len(rows), rows.lengths.cut_tokens) == (
        5,
        0,
    )  # 4 windows of 8 tokens, and the short text; none of the empty one
    scores = []
    for row in range(len(rows)):
        tokens = rows.batch(np.array([row]), []).tokens_BT[0]
        scores.append(tokens.float().unsqueeze(1).repeat(1, 2))  # each token says its own id
    joined = rows.joined(scores, 2)
    assert [table[:, 0].tolist() for table in joined] == texts


def test_a_text_that_is_cut_says_how_much(bert):
    rows = TokenRows([list(range(10, 33))], bert, 10)
    assert (len(rows), rows.lengths.cut_tokens) == (1, 15)
    (table,) = rows.joined([torch.ones(10, 1)], 1)
    assert table[:, 0].tolist() == [1.0] * 8 + [0.0] * 15


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("overlap", [0, 2, 4])
def test_each_label_counts_once_and_no_window_has_a_part_of_a_span(bert, overlap, ends):
    words = list("鲁迅生于绍兴后来到北京鲁迅生于绍兴后来到北京")
    names = bio_tags(["LOC"], ends)
    for start in range(len(words) - 4):
        tags = write_tags([("LOC", start, start + 3)], len(words), ends)
        short = Tagged.of_words(words[:3], write_tags([("LOC", 0, 3)], 3, ends))
        examples = TaggedTexts([Tagged.of_words(words, tags), short], names, bert, 10, overlap=overlap)
        assert len(examples) > 3
        counted = 0
        for row in range(len(examples) - 1):
            said = [names[i] for i in every_row(examples, [row]).targets_BT[0].tolist() if i != IGNORE]
            counted += len(said)
            assert first_invalid(said) is None
            assert [stop - first for _, first, stop in spans(said)] in ([], [3])
        # With room for a span in what windows share, nothing is lost; without, at most the span.
        assert counted == len(words) if overlap >= 3 else counted >= len(words) - 3


def test_words_that_a_vocabulary_joins_have_tokens_of_their_own(wide):
    assert len(wide.encode("绍兴")) == 1
    words, tags = list("生于绍兴，"), ["O", "O", "B-LOC", "I-LOC", "O"]
    examples = TaggedTexts([Tagged.of_words(words, tags)], bio_tags(["LOC"]), wide)
    said = [label for label in every_row(examples).targets_BT[0].tolist() if label != IGNORE]
    assert said == [0, 0, 1, 2, 0]
    assert examples.unaligned == 0


def test_spans_that_overlap_have_labels_of_their_own(bert):
    text, names = "鲁迅生于绍兴", bio_tags(["PER", "ALL"])[1:]
    record = Tagged.of_spans(text, [(0, 2, "PER"), (0, 6, "ALL")])
    for layout in ("padded", "packed"):
        examples = TaggedTexts([record, record], names, bert, nested=True, layout=layout)
        targets = every_row(examples).targets_BT
        assert targets.shape == ((2, 8, 4) if layout == "padded" else (1, 16, 4))
        table = targets.reshape(2, 8, 4)[0]
        assert (table[[0, -1]] == IGNORE).all()
        assert table[1:-1, 0].tolist() == [1, 0, 0, 0, 0, 0]  # B-PER
        assert table[1:-1, 1].tolist() == [0, 1, 0, 0, 0, 0]  # I-PER
        assert table[1:-1, 2].tolist() == [1, 0, 0, 0, 0, 0]
        assert table[1:-1, 3].tolist() == [0, 1, 1, 1, 1, 1]


def test_targets_of_several_numbers_are_padded():
    targets = [np.ones((2, 3), np.int8), np.zeros((1, 3), np.int8)]
    batch = lay_batch([[5, 6], [7]], targets, "padded", 0)
    assert batch.targets_BT.tolist() == [[[1] * 3, [1] * 3], [[0] * 3, [IGNORE] * 3]]


def test_schemes_by_hand():
    assert bio_tags(["X"], ends=True) == ("O", "B-X", "I-X", "E-X", "S-X")
    assert bio_tags([""]) == ("O", "B", "I")
    assert write_tags([("X", 0, 3), ("Y", 3, 4)], 5, ends=True) == ["B-X", "I-X", "E-X", "S-Y", "O"]
    assert spans(["B-X", "I-X", "E-X", "S-Y", "O", "E-X"]) == [("X", 0, 3), ("Y", 3, 4), ("X", 5, 6)]
    assert spans(["B", "I", "B", "I", "I"]) == [("", 0, 2), ("", 2, 5)]
    assert (is_bio(["B", "I"]), is_bio(["B", "NN"]), is_bio(["B-X", "B"]), is_bioes(["S-X"])) == (
        True,
        False,
        False,
        True,
    )
    allowed = {(a, b) for a in bio_tags(["X"], True) for b in bio_tags(["X"], True) if may_follow(a, b, True)}
    opened, closed = ("B-X", "I-X"), ("O", "E-X", "S-X")
    assert allowed == {(a, b) for a in opened for b in ("I-X", "E-X")} | {
        (a, b) for a in closed for b in ("O", "B-X", "S-X")
    }


@given(
    st.lists(st.tuples(st.sampled_from(["A", "B"]), st.integers(1, 3), st.integers(0, 2)), max_size=6),
    st.booleans(),
)
def test_both_schemes_write_and_read_the_same_spans(parts, ends):
    expected, length = [], 0
    for kind, size, gap in parts:
        expected.append((kind, length, length + size))
        length += size + gap
    tags = write_tags(expected, length, ends)
    assert spans(tags) == expected
    bordered = ["O", *tags, "O"]
    assert all(may_follow(a, b, ends) for a, b in itertools.pairwise(bordered))

"""From characters to tokens: whose tag a token has, and what is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuning import every_row
from hanlin.base.errors import DataError
from hanlin.batches.batch import IGNORE
from hanlin.batches.bio import first_invalid, is_bio, spans
from hanlin.batches.tagged import Tagged, TaggedTexts
from hanlin.tokenizer.bpe import train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.wordpiece import train_wordpiece

LINES = ["Lu Xun was born in Shaoxing. ", "鲁迅生于绍兴，后来到北京。", "unbelievable believe "] * 8
NAMES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return saved(train_wordpiece(LINES, TokenizerConfig(model="wordpiece", vocab_size=260, on_small="shrink")),
                 "wordpiece", tmp_path_factory.mktemp("wordpiece"))  # fmt: skip


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return saved(train_bpe(LINES, TokenizerConfig(vocab_size=300)), "bpe",
                 tmp_path_factory.mktemp("bpe"))  # fmt: skip


def saved(trained, model, folder: Path) -> Tokenizer:
    save_tokenizer(trained, model, folder)
    return Tokenizer.load(folder)


def labelled(examples: TaggedTexts, tokenizer: Tokenizer, names=NAMES):
    """Each token of the first record that has a label, as text, with what it is called."""
    batch = every_row(examples, [0])
    pairs = zip(batch.tokens_BT[0].tolist(), batch.targets_BT[0].tolist(), strict=True)
    return [(tokenizer.decode([id]).strip(), names[label]) for id, label in pairs if label != IGNORE]


TWO_TEXTS = [
    Tagged.of_words(["鲁", "迅", "生", "于", "绍", "兴"], ["B-PER", "I-PER", "O", "O", "B-LOC", "I-LOC"]),
    Tagged.of_words(["Lu", "Xun", "was", "born"], ["B-PER", "I-PER", "O", "O"]),
]


def test_words_are_joined_as_each_script_writes_them():
    assert (
        Tagged.of_words(["鲁", "迅", "was", "born", ".", "在", "绍"], ["O"] * 7).text == "鲁迅was born .在绍"
    )
    assert TWO_TEXTS[1].text == "Lu Xun was born"
    assert TWO_TEXTS[1].stretches == ((0, 2), (3, 6), (7, 10), (11, 15))


@pytest.mark.parametrize("which", ["bert", "bpe"])
def test_spans_of_characters_become_tags_of_tokens(which, request):
    tokenizer = request.getfixturevalue(which)
    text = "鲁迅生于绍兴，Lu Xun was born."
    record = Tagged.of_spans(text, [(0, 2, "PER"), (4, 6, "LOC"), (7, 13, "PER")])
    examples = TaggedTexts([record], NAMES, tokenizer)
    # Wherever the vocabulary cuts, the tokens with tags of one span are its characters.
    ids, offsets = tokenizer.encode_spans(text)
    assert ids == tokenizer.encode(text)
    targets = [label for label in every_row(examples).targets_BT[0].tolist() if label != IGNORE]
    assert len(targets) == len(ids)
    inside = [(start, stop) for (start, stop), label in zip(offsets, targets, strict=True) if label != 0]
    covered = {place for start, stop in inside for place in range(start, stop)}
    assert "".join(text[place] for place in sorted(covered)).replace(" ", "") == "鲁迅绍兴LuXun"
    assert ([NAMES[label] for label in targets].count("B-PER"), examples.unaligned) == (2, 0)


@pytest.mark.parametrize("which", ["bert", "bpe"])
@pytest.mark.parametrize(
    "text", ["鲁迅 was born", "a<|im_end|>b", "[SEP] 鲁[CLS]", "  two  spaces ", "Ｌｕ é"]
)
def test_every_token_knows_its_characters(which, text, request):
    tokenizer = request.getfixturevalue(which)
    ids, offsets = tokenizer.encode_spans(text)
    assert ids == tokenizer.encode(text)
    assert not set(ids) & tokenizer.special_ids - {tokenizer.unk_id}
    assert [start for start, _ in offsets] == sorted(start for start, _ in offsets)
    covered = {place for start, stop in offsets for place in range(start, stop)}
    assert covered >= {place for place, character in enumerate(text) if not character.isspace()}


def test_every_tag_by_hand(bert):
    first = TaggedTexts([TWO_TEXTS[0]], NAMES, bert)
    assert labelled(first, bert) == list(zip("鲁迅生于绍兴", TWO_TEXTS[0].tags, strict=True))
    batch = every_row(first)
    assert batch.tokens_BT[0, 0] == bert.cls_id
    assert batch.tokens_BT[0, -1] == bert.sep_id
    assert batch.targets_BT[0, [0, -1]].tolist() == [IGNORE, IGNORE]


def test_the_first_subword_or_all_of_them(bert):
    pieces = bert.encode("bornwas")
    assert len(pieces) > 1
    record = Tagged.of_words(["鲁", "bornwas", "绍"], ["B-PER", "B-LOC", "O"])
    first = TaggedTexts([record], NAMES, bert)
    assert [name for _, name in labelled(first, bert)] == ["B-PER", "B-LOC", "O"]
    every = TaggedTexts([record], NAMES, bert, subwords="all")
    expected = ["B-PER", "B-LOC", *["I-LOC"] * (len(pieces) - 1), "O"]
    assert [name for _, name in labelled(every, bert)] == expected


def test_kinds_of_words_that_are_no_spans(bert):
    record = Tagged.of_words(["bornwas", "绍"], ["ADJ", "NOUN"])
    every = TaggedTexts([record], ["NOUN", "ADJ"], bert, subwords="all")
    names = [name for _, name in labelled(every, bert, ["NOUN", "ADJ"])]
    assert names == [*["ADJ"] * len(bert.encode("bornwas")), "NOUN"]


def test_truncation_is_counted_and_cuts_tags_with_tokens(bert):
    examples = TaggedTexts(TWO_TEXTS, NAMES, bert, max_length=6)
    assert labelled(examples, bert) == list(zip("鲁迅生于", TWO_TEXTS[0].tags, strict=False))
    assert [len(bert.encode(record.text)) for record in TWO_TEXTS] == [6, 4]
    assert (examples.lengths.cut_records, examples.lengths.cut_tokens) == (1, 2)
    assert examples.lengths.longest == 6


def test_spans_with_a_border_within_a_token_are_counted(tmp_path):
    wide = saved(train_bpe(LINES, TokenizerConfig(vocab_size=400, on_small="shrink")), "bpe", tmp_path)
    assert len(wide.encode(" believe")) == 1
    borders = [(1, 8), (2, 4), (1, 4), (4, 8)]
    aligned = Tagged.of_spans(" believe was", [(9, 12, "PER")])
    for span in borders:
        examples = TaggedTexts([Tagged.of_spans(" believe was", [(*span, "LOC")]), aligned], NAMES, wide)
        assert examples.unaligned == (span != (1, 8)), span


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Tagged.of_spans("鲁迅", [(0, 2, "PER"), (1, 2, "LOC")]), "x:2.* overlap"),
        (Tagged.of_spans("鲁迅", [(0, 3, "PER")]), "x:2.* outside"),
        (Tagged.of_spans("鲁迅", [(0, 2, "ORG")]), "x:2.* tag B-ORG"),
        (Tagged.of_words(["鲁"], ["B-ORG"]), "x:2.* tag B-ORG"),
        (Tagged.of_words(["鲁", "迅"], ["O", "I-PER"]), "x:2.* tag I-PER at word 2"),
        (Tagged.of_words([], []), "x:2.* no tokens"),
    ],
)
def test_wrong_records_are_refused_by_name(bpe, record, message):
    with pytest.raises(DataError, match=message):
        TaggedTexts([TWO_TEXTS[0], record], NAMES, bpe, places=["x:1", "x:2"])


def test_a_split_of_one_tag_is_refused(bert):
    with pytest.raises(DataError, match="only the label 0"):
        TaggedTexts([Tagged.of_words(["生", "于"], ["O", "O"])], NAMES, bert)


def test_bio_by_hand():
    tags = ["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "I-LOC", "I-PER"]
    assert spans(tags) == [("PER", 0, 2), ("LOC", 3, 4), ("LOC", 4, 6), ("PER", 6, 7)]
    assert first_invalid(tags) == 6
    assert first_invalid(tags[:6]) is None
    assert (is_bio(NAMES), is_bio(["NOUN", "ADJ"]), is_bio(["O"])) == (True, False, False)


@given(st.lists(st.tuples(st.sampled_from(["A", "B"]), st.integers(1, 3), st.integers(0, 2)), max_size=6))
def test_spans_written_as_tags_are_read_back(parts):
    tags, expected = [], []
    for kind, length, gap in parts:
        expected.append((kind, len(tags), len(tags) + length))
        tags += [f"B-{kind}", *[f"I-{kind}"] * (length - 1), *["O"] * gap]
    assert spans(tags) == expected
    assert first_invalid(tags) is None

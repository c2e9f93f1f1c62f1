"""Tokens are numbered by the words that they are written in, for every kind of tokenizer; sentinels are special."""

import numpy as np
import pytest
from tokenizers import Tokenizer as Rust
from tokenizers import decoders, models, normalizers, pre_tokenizers

from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.folder import DEFINITION, TokenizerFiles
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.train import _TRAIN
from hanlin.tokenizer.word_numbers import WordNumbers

TEXT = "研究生命起源。The scholars' well-known books, e.g. 3.14 of them，我们喜欢北京大学！ "


@pytest.fixture(scope="module", params=["bpe", "wordpiece", "unigram"])
def tokenizer(request, tmp_path_factory):
    config = TokenizerConfig(model=request.param, vocab_size=620, sentinels=3, on_small="shrink")
    folder = tmp_path_factory.mktemp(request.param)
    texts = [TEXT + str(n) + " known unknown scholar reads the well" for n in range(60)]
    save_tokenizer(_TRAIN[request.param](texts, config), request.param, folder)
    return Tokenizer.load(folder), config


def groups(tokenizer, ids):
    numbers = WordNumbers(tokenizer)(ids)
    assert (np.diff(numbers) >= 0).all()
    pieces = tokenizer.written_pieces()
    return [
        b"".join(pieces[id] for id in ids[numbers == n]).decode() for n in dict.fromkeys(numbers.tolist())
    ]


def test_no_word_is_cut_and_chinese_words_are_words(tokenizer):
    tokenizer, config = tokenizer
    ids = np.array(tokenizer.encode(TEXT))
    found = [group.strip() for group in groups(tokenizer, ids)]
    assert {"books", "of", "them"} <= set(found)
    if config.model == "wordpiece":  # BERT cuts Han characters apart, and punctuation
        assert {"起源", "我们", "喜欢", "北京大学", "well", "known"} <= set(found)
    else:
        assert "well-known" in found
        assert "3.14" in found


def test_a_row_may_begin_within_a_character_and_hold_special_tokens(tokenizer):
    tokenizer, config = tokenizer
    ids = tokenizer.encode("学士 scholars 学士")
    special = config.special.ids()
    row = np.array([special.end, *ids, special.end, *ids[1:]])
    numbers = WordNumbers(tokenizer)(row)
    place = len(ids) + 1
    assert numbers[place - 1] < numbers[place] < numbers[place + 1]
    assert numbers[0] < numbers[1]
    assert (np.diff(numbers) <= 1).all()


def test_split_characters_belong_together():
    """Byte-level tokens of one Han character are one word."""
    vocabulary = {character: id for id, character in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    rust = Rust(models.BPE({**vocabulary, "<end>": 256}, []))
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    rust.decoder = decoders.ByteLevel()
    rust.add_special_tokens(["<end>"])
    files = TokenizerFiles({DEFINITION: rust.to_str()}, {"a": {"eos_token": "<end>"}}, "here")
    numbers = WordNumbers(Tokenizer(files))
    ids = np.array(Tokenizer(files).encode("我a们 b"))
    assert numbers(ids).tolist() == [1, 1, 1, 2, 3, 3, 3, 4, 5]
    assert numbers(ids[1:]).tolist()[1:] == [
        2,
        3,
        4,
        4,
        4,
        5,
        6,
    ]  # the lost byte leaves two that are no character


def test_marks_of_spaces_are_spaces():
    """A vocabulary as of Llama or T5, whose tokens are no fixed strings of bytes."""
    pieces = ["<unk>", "<end>", "▁know", "n", "▁un", "know", "<0xE5>", "<0xAD>", "<0xA6>", "▁"]
    rust = Rust(
        models.BPE({piece: id for id, piece in enumerate(pieces)}, [], unk_token="<unk>", byte_fallback=True)
    )
    rust.normalizer = normalizers.Prepend("▁")
    rust.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    rust.add_special_tokens(["<end>"])
    tokenizer = Tokenizer(TokenizerFiles({DEFINITION: rust.to_str()}, {"a": {"eos_token": "<end>"}}, "here"))
    ids = np.array([2, 3, 4, 5, 3, 6, 7, 8, 1, 3])
    assert WordNumbers(tokenizer)(ids).tolist() == [1, 1, 2, 2, 2, 3, 3, 3, 4, 5]


def test_the_settings_alone_say_which_ids_are_special(tokenizer):
    tokenizer, config = tokenizer
    ids = config.special.ids()
    assert (ids.end, ids.pad, ids.cls, ids.mask) == (
        tokenizer.eos_id,
        tokenizer.pad_id,
        tokenizer.cls_id,
        tokenizer.mask_id,
    )
    assert tokenizer.start_id == ids.pad
    assert ids.all == tokenizer.special_ids
    assert [tokenizer.special_text(id) for id in ids.sentinels] == ["<|span_0|>", "<|span_1|>", "<|span_2|>"]
    assert not set(ids.sentinels).intersection(tokenizer.encode("<|span_0|> <|span_1|>"))
    assert config.model_copy(update={"sentinels": 0}).special.ids().sentinels == ()


def test_sentinels_need_room():
    with pytest.raises(ValueError, match="at least 360 when model is bpe with 100 sentinels"):
        TokenizerConfig(vocab_size=300, sentinels=100)

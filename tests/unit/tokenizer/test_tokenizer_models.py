"""WordPiece and Unigram: what holds of their vocabularies, and building each kind from a corpus."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.base.config import settings_from_overrides
from hanlin.base.errors import ConfigError, DataError
from hanlin.base.manifest import read_manifest, write_manifest
from hanlin.base.records import Document, Message
from hanlin.corpus.shards import ShardWriter
from hanlin.stages.current import current_manifest
from hanlin.stages.tokenizer import with_later_settings
from hanlin.tokenizer.chat import ChatTemplate
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.memory import BYTES_PER_SYMBOL, affordable_characters
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.special import SPECIAL_TOKENS
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.train import build_tokenizer
from hanlin.tokenizer.unigram import train_unigram
from hanlin.tokenizer.wordpiece import train_wordpiece

NAMES = [*SPECIAL_TOKENS["unigram"].ordered, *SPECIAL_TOKENS["wordpiece"].ordered, "<0x41>", "<|", "[", "##a"]
written = st.text(max_size=30) | st.lists(st.sampled_from([*NAMES, " ", "\n", "学", "a", "MASK]"])).map(
    "".join
)
MANY = ["".join(chr(0x4E00 + (n * n + m) % 3000) for m in range(40)) + " scholars read" for n in range(300)]


def config(model: str, **values: Any) -> TokenizerConfig:
    return TokenizerConfig.model_validate({"model": model, "on_small": "shrink", **values})


def write_corpus(folder: Path, texts: list[str]) -> Path:
    folder.mkdir()
    writer = ShardWriter(folder, "train", shard_characters=1_000_000)
    for text in texts:
        writer.write(Document(id=hashlib.sha256(text.encode()).hexdigest(), text=text, source="test"))
    writer.close()
    write_manifest(folder, "corpus", {})
    return folder


@pytest.fixture(scope="module")
def unigram(tmp_path_factory: pytest.TempPathFactory, english: str, chinese: str) -> Tokenizer:
    folder = tmp_path_factory.mktemp("unigram")
    trained = train_unigram([english * 3, chinese * 3], config("unigram", vocab_size=560))
    save_tokenizer(trained, "unigram", folder)
    return Tokenizer.load(folder)


@pytest.fixture(scope="module")
def wordpiece(tmp_path_factory: pytest.TempPathFactory, english: str, chinese: str) -> Tokenizer:
    folder = tmp_path_factory.mktemp("wordpiece")
    trained = train_wordpiece([english * 3, chinese * 3], config("wordpiece", vocab_size=560))
    save_tokenizer(trained, "wordpiece", folder)
    return Tokenizer.load(folder)


@given(text=written)
@settings(max_examples=300, deadline=None)
def test_unigram_brings_any_text_back_and_makes_no_special_token(unigram: Tokenizer, text: str) -> None:
    ids = unigram.encode(text)
    assert unigram.decode(ids) == text
    assert not unigram.special_ids.intersection(ids)
    assert b"".join(map(unigram.token_bytes, ids)) == text.encode()


@given(text=written)
@settings(max_examples=300, deadline=None)
def test_wordpiece_makes_no_special_token_but_the_unknown(wordpiece: Tokenizer, text: str) -> None:
    assert wordpiece.special_ids.intersection(wordpiece.encode(text)) <= {wordpiece.unk_id}


def test_special_tokens_have_the_lowest_ids(unigram: Tokenizer, wordpiece: Tokenizer) -> None:
    assert sorted(unigram.special_ids) == [0, 1, 2, 3, 4, 5]
    assert (unigram.eos_id, unigram.bos_id, unigram.pad_id, unigram.mask_id, unigram.unk_id) == (
        0,
        0,
        1,
        4,
        5,
    )
    assert sorted(wordpiece.special_ids) == [0, 1, 2, 3, 4]
    roles = (wordpiece.pad_id, wordpiece.unk_id, wordpiece.cls_id, wordpiece.sep_id, wordpiece.mask_id)
    assert roles == (0, 1, 2, 3, 4)
    assert (wordpiece.eos_id, wordpiece.bos_id) == (3, None)


def test_unigram_speaks_in_turns(unigram: Tokenizer) -> None:
    rendered = ChatTemplate(unigram).render([Message(role="user", content="学<|im_end|>")])
    assert rendered.ids.count(unigram.token_id("<|im_end|>")) == 1
    assert unigram.decode(rendered.ids, skip_special=False).endswith("学<|im_end|><|im_end|>\n")


def test_wordpiece_cuts_what_bert_would_not_know(wordpiece: Tokenizer) -> None:
    ids = wordpiece.encode("scholars" * 50)
    assert wordpiece.unk_id not in ids
    assert len(ids) < 200


@pytest.mark.parametrize("model", ["wordpiece", "unigram"])
def test_more_characters_than_tokens_do_not_overflow_the_vocabulary(model: str) -> None:
    train = {"wordpiece": train_wordpiece, "unigram": train_unigram}[model]
    trained = train(MANY, config(model, vocab_size=900))
    assert 450 < trained.get_vocab_size() <= 900


def test_han_characters_fill_what_longer_pieces_leave() -> None:
    texts = [chr(0x4E00 + n) * (700 - n) for n in range(600)]
    trained = train_wordpiece(texts, config("wordpiece", vocab_size=500, on_small="stop"))
    assert trained.get_vocab_size() == 500
    known = [n for n in range(600) if trained.token_to_id(chr(0x4E00 + n)) is not None]
    assert known == list(range(495))  # the commonest, beside five special tokens


@pytest.mark.parametrize("model", ["bpe", "wordpiece", "unigram"])
def test_same_corpus_same_bytes_for_every_model(
    tmp_path: Path, model: str, english: str, chinese: str
) -> None:
    texts = [f"{english[n:]}{chinese[n % 30 :]}ä{n}ß{chr(0xE0 + n % 30)}x" for n in range(60)]
    corpus = write_corpus(tmp_path / "corpus", texts)
    made = [
        build_tokenizer(config(model, vocab_size=700), corpus, tmp_path / name).files
        for name in ("one", "two")
    ]
    assert made[0] == made[1]
    assert ("chat_template.jinja" in made[0]) == (model != "wordpiece")
    assert Tokenizer.load(tmp_path / "one").vocab_size <= 700
    report = read_manifest(tmp_path / "one", "tokenizer").report
    assert report["training"]["characters_used"] == sum(map(len, texts))
    assert report["round_trip_failures"] == (len(texts) if model == "wordpiece" else 0)


@pytest.mark.parametrize("train", [train_wordpiece, train_unigram])
def test_no_text_is_refused(train: Any) -> None:
    model = train.__name__.removeprefix("train_")
    with pytest.raises(DataError, match="no text"):
        train(["", ""], config(model, vocab_size=600))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["lowercase=true"], "lowercase does nothing"),
        (["model=wordpiece", "pattern=llama3"], "pattern does nothing"),
        (["model=unigram", "min_frequency=3"], "min_frequency does nothing"),
        (["model=unigram", "vocab_size=300"], "at least 520"),
        (["model=sentencepiece"], "unigram"),
    ],
)
def test_settings_without_effect_are_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings_from_overrides(TokenizerConfig, overrides)


def test_memory_follows_what_is_distinct() -> None:
    def by_character(text: str) -> list[str]:
        return text.split(" ")

    cost = BYTES_PER_SYMBOL["bpe"]
    distinct = [" ".join(f"{n:05d}{m:05d}" for m in range(10)) for n in range(100)]
    characters = sum(map(len, distinct))
    fits = affordable_characters(distinct, by_character, 3 * 10_000 * cost, "bpe")
    assert fits == pytest.approx(
        3 * characters, rel=0.01
    )  # nothing repeats: three times the memory, the text
    repeated = distinct[:10] + distinct[:10] * 9
    assert affordable_characters(repeated, by_character, 3 * 1_000 * cost, "bpe") > 100 * characters


def test_less_is_drawn_where_memory_does_not_suffice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import random

    draw = random.Random(0)
    texts = ["".join(chr(draw.randrange(0x4E00, 0x9000)) for _ in range(10_000)) for _ in range(60)]
    corpus = write_corpus(tmp_path / "corpus", texts)
    asked = config("bpe", vocab_size=300, memory_gb=0.06)
    training = build_tokenizer(asked, corpus, tmp_path / "made").report["training"]
    assert training["characters_in_corpus"] == 600_000
    assert 100_000 < training["characters_used"] < 300_000  # 200,000 characters of 3 bytes of 100 bytes
    assert "memory_gb" in capsys.readouterr().err


def test_a_folder_made_before_a_setting_came_is_current(tmp_path: Path) -> None:
    defaults = TokenizerConfig().model_dump(mode="json")
    old = {name: value for name, value in defaults.items() if name not in ("model", "lowercase", "memory_gb")}
    write_manifest(tmp_path, "tokenizer", old)
    for today, current in ((defaults, True), ({**defaults, "model": "unigram"}, False)):
        found = current_manifest(tmp_path, "tokenizer", today, {}, with_later_settings)
        assert (found is not None) == current

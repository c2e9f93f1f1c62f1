"""The tokenizer stage: deterministic, opened by transformers, clear about too little text; and what it
measures."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from hanlin.base.errors import CheckpointError, DataError
from hanlin.base.manifest import verify_files, write_manifest
from hanlin.base.records import Document, Split
from hanlin.corpus.shards import ShardWriter
from hanlin.tokenizer.bpe import train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.measure import measure_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.train import build_tokenizer


def write_corpus(folder: Path, texts: Sequence[str], split: Split = "train") -> Path:
    folder.mkdir()
    writer = ShardWriter(folder, split, shard_characters=10_000)
    for text in texts:
        id = hashlib.sha256(text.encode()).hexdigest()
        writer.write(Document(id=id, text=text, source="test", split=split))
    writer.close()
    write_manifest(folder, "corpus", {})
    return folder


def varied(count: int) -> list[str]:
    """Texts with words, characters and numbers, no two alike."""
    english, chinese = (
        "the scholars read the old histories, and answer. ",
        "翰林院的学士们读史书，学而时习之。",
    )
    return [f"{english[n % 40 :]}{chinese[n % 12 :]}{english * 3}{chinese * 3}{n}" for n in range(count)]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_same_corpus_same_bytes(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", varied(60))
    config = TokenizerConfig(vocab_size=320)
    manifest = build_tokenizer(config, corpus, tmp_path / "one")
    build_tokenizer(config, corpus, tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")
    verify_files(tmp_path / "one", manifest)
    assert manifest.kind == "tokenizer"
    assert set(manifest.files) == {
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "report.json",
    }
    assert Tokenizer.load(tmp_path / "one").vocab_size == 320
    report = json.loads((tmp_path / "one" / "report.json").read_text("utf-8"))
    assert report["round_trip_failures"] == 0


def test_the_limit_of_characters_draws_passages_evenly(tmp_path: Path) -> None:
    library = "".join(varied(2000))
    corpus = write_corpus(tmp_path / "corpus", [library, *varied(200)])
    config = TokenizerConfig(vocab_size=300, max_characters=len(library) // 4)
    training = build_tokenizer(config, corpus, tmp_path / "quarter").report["training"]
    assert 0.8 < training["characters_used"] / config.max_characters < 1.2
    whole = build_tokenizer(TokenizerConfig(vocab_size=300), corpus, tmp_path / "whole").report["training"]
    assert (
        whole["characters_used"] == whole["characters_in_corpus"] == len(library) + sum(map(len, varied(200)))
    )


def test_transformers_opens_it_and_gives_the_same_ids(
    folder: Path, tokenizer: Tokenizer, english: str, chinese: str
) -> None:
    from transformers import AutoTokenizer

    peer = AutoTokenizer.from_pretrained(folder)
    for text in (english, chinese, "a\n\n  b\t\u0301学𠀀 1234567"):
        assert peer.encode(text, add_special_tokens=False) == tokenizer.encode(text)
        assert peer.decode(tokenizer.encode(text)) == text


def test_too_little_text_says_how_many_tokens_there_are(tmp_path: Path, english: str, chinese: str) -> None:
    corpus = write_corpus(tmp_path / "corpus", [english, english + chinese])
    with pytest.raises(DataError) as caught:
        build_tokenizer(TokenizerConfig(vocab_size=5000), corpus, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    size = int(caught.value.problem.en.split("only ")[1].split()[0])
    assert f"vocab_size={size}" in caught.value.remedy.en
    build_tokenizer(TokenizerConfig(vocab_size=size), corpus, tmp_path / "fits")
    shrunk = TokenizerConfig(vocab_size=5000, on_small="shrink")
    build_tokenizer(shrunk, corpus, tmp_path / "shrunk")
    assert Tokenizer.load(tmp_path / "shrunk").vocab_size == size


def test_no_text_at_all(tmp_path: Path, chinese: str) -> None:
    corpus = write_corpus(tmp_path / "corpus", [chinese], split="valid")
    with pytest.raises(DataError, match="no text"):
        build_tokenizer(TokenizerConfig(), corpus, tmp_path / "out")
    with pytest.raises(DataError, match="no text"):
        train_bpe([], TokenizerConfig())


def test_a_folder_of_another_kind(tmp_path: Path) -> None:
    write_manifest(tmp_path, "model", {})
    with pytest.raises(CheckpointError, match="model"):
        build_tokenizer(TokenizerConfig(), tmp_path, tmp_path / "out")


def test_megabytes_without_a_space_train() -> None:
    texts = ["学而时习之不亦说乎有朋自远方来" * 7000, "ab" * 50_000, " " * 100_000, "\u0915\u094d" * 20_000]
    trained = train_bpe(texts, TokenizerConfig(vocab_size=270))
    assert trained.get_vocab_size() == 270


def test_han_characters_stand_apart_from_punctuation_and_letters() -> None:
    texts = ["，我们。我们用Python写，我们（我们）" * 50]
    vocabulary = train_bpe(texts, TokenizerConfig(vocab_size=400, on_small="shrink")).get_vocab()
    decoded = [bytes_text for piece in vocabulary if (bytes_text := _text(piece))]
    assert "我们" in decoded
    assert not any("我们" in text and text != "我们" and not text.isalpha() for text in decoded)
    assert not any("用P" in text or "n写" in text for text in decoded)


def _text(piece: str) -> str:
    from hanlin.tokenizer.pieces import byte_of_character

    table = byte_of_character()
    return bytes(table.get(character, 63) for character in piece).decode(errors="ignore")


def test_fertility_adds_up_to_the_tokens(tokenizer: Tokenizer, english: str, chinese: str) -> None:
    texts = [english, chinese, "١٢٣ ünï 12 𠀀 🙂"]
    report = measure_tokenizer(tokenizer, texts)
    assert report.tokens == sum(len(tokenizer.encode(text)) for text in texts)
    assert report.characters == sum(map(len, texts))
    assert report.bytes == sum(len(text.encode()) for text in texts)
    by_script = sum(
        report.tokens_per_character[s] * report.characters_by_script[s] for s in report.tokens_per_character
    )
    assert by_script == pytest.approx(report.tokens, rel=1e-3)
    han = sum("\u4e00" <= c <= "\u9fff" or c == "𠀀" for text in texts for c in text)
    assert report.characters_by_script["han"] == han
    assert report.characters_by_script["digits"] == sum(
        c.isascii() and c.isdigit() for text in texts for c in text
    )
    assert report.round_trip_failures == 0
    used = {id for text in texts for id in tokenizer.encode(text)}
    assert report.vocabulary_used == pytest.approx(len(used) / (tokenizer.vocab_size - 4), abs=1e-4)
    assert report.encoder == "tiktoken"


def test_fertility_of_one_token_is_one_over_its_characters(tokenizer: Tokenizer) -> None:
    (id,) = tokenizer.encode("the")
    assert tokenizer.decode([id]) == "the"
    report = measure_tokenizer(tokenizer, ["the"])
    assert report.tokens_per_character == {"latin": pytest.approx(1 / 3, abs=1e-4)}


def test_what_does_not_come_back_is_counted(tmp_path: Path) -> None:
    import tokenizers
    from tokenizers import models, pre_tokenizers, trainers

    words = tokenizers.Tokenizer(models.WordLevel(unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.train_from_iterator(["the end"], trainers.WordLevelTrainer(special_tokens=["<unk>", "</s>"]))
    words.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "</s>", "unk_token": "<unk>"}')
    report = measure_tokenizer(Tokenizer.load(tmp_path), ["the end", "the  END"])
    assert (report.documents, report.round_trip_failures, report.round_trip_samples) == (2, 1, ["the  END"])
    assert (report.tokens_per_character, report.encoder) == ({}, "tokenizers")


def test_measuring_stops_at_the_limit(tokenizer: Tokenizer, english: str) -> None:
    report = measure_tokenizer(tokenizer, (english for _ in range(1_000_000)), max_characters=10_000)
    assert 10_000 <= report.characters < 10_000 + len(english)

"""Text to ids and back: round trip, special tokens never from text, both engines alike, files of the
ecosystem."""

import json
import shutil
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, trainers

from hanlin.base.errors import CheckpointError, DataError
from hanlin.tokenizer.patterns import GPT2, HANLIN, LLAMA3, QWEN2
from hanlin.tokenizer.special import SPECIAL_TOKENS
from hanlin.tokenizer.tokenizer import Tokenizer

SPECIALS = SPECIAL_TOKENS["bpe"].ordered
written = st.text() | st.lists(st.sampled_from([*SPECIALS, "<|", "|>", "im_end", " ", "\n", "学", "a"])).map(
    "".join
)


@given(text=written)
@settings(max_examples=400, deadline=None)
def test_any_text_comes_back_and_never_makes_a_special_token(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not tokenizer.special_ids.intersection(ids)
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()


@given(texts=st.lists(written, max_size=4))
@settings(max_examples=300, deadline=None)
def test_bulk_encoding_gives_the_same_ids(tokenizer: Tokenizer, texts: list[str]) -> None:
    assert tokenizer.has_bulk_encoding
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


def test_both_engines_agree_on_every_character_of_unicode(tokenizer: Tokenizer) -> None:
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
    texts = ["".join(characters[start : start + 5000]) for start in range(0, len(characters), 5000)]
    ids = tokenizer.encode_batch(texts)
    assert ids == [tokenizer.encode(text) for text in texts]
    assert [tokenizer.decode(row) for row in ids] == texts


@pytest.mark.parametrize("pattern", [HANLIN, LLAMA3, QWEN2, GPT2])
def test_known_patterns_leave_no_character_out(pattern: str) -> None:
    cut = pre_tokenizers.Split(tokenizers.Regex(pattern), "removed", invert=True)
    for start in range(0, 0x110000, 0x4000):
        text = "".join(chr(code) for code in range(start, start + 0x4000) if not 0xD800 <= code <= 0xDFFF)
        assert "".join(piece for piece, _ in cut.pre_tokenize_str(text)) == text


def test_huge_runs_are_encoded(tokenizer: Tokenizer) -> None:
    for text in (
        "学" * 300_000,
        " " * 300_000,
        "a" * 300_000,
        "!" * 300_000,
        "\n" * 300_000,
        "\u0301" * 100_000,
    ):
        assert tokenizer.encode_batch([text]) == [tokenizer.encode(text)]


def test_special_ids_come_first_and_end_generation(tokenizer: Tokenizer) -> None:
    assert [tokenizer.token_id(text) for text in SPECIALS] == [0, 1, 2, 3]
    assert (tokenizer.eos_id, tokenizer.pad_id, tokenizer.bos_id) == (0, 1, 0)
    assert tokenizer.stop_ids == {0, 3}
    assert tokenizer.decode([0, *tokenizer.encode("学"), 3]) == "学"
    assert (
        tokenizer.decode([0, *tokenizer.encode("学"), 3], skip_special=False) == "<|endoftext|>学<|im_end|>"
    )


def test_saving_gives_the_same_bytes_and_fingerprint(
    tokenizer: Tokenizer, folder: Path, tmp_path: Path
) -> None:
    tokenizer.save(tmp_path)
    names = sorted(path.name for path in folder.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert all((tmp_path / name).read_bytes() == (folder / name).read_bytes() for name in names)
    assert Tokenizer.load(tmp_path).fingerprint == tokenizer.fingerprint


def test_half_a_surrogate_pair_is_refused(tokenizer: Tokenizer) -> None:
    for encode in (tokenizer.encode, lambda text: tokenizer.encode_batch([text])):
        with pytest.raises(DataError, match="2"):
            encode("ab\ud83d")


def test_ids_outside_the_vocabulary_are_refused(tokenizer: Tokenizer) -> None:
    for id in (-1, tokenizer.vocab_size):
        with pytest.raises(DataError, match=str(id)):
            tokenizer.decode([id])


def test_a_folder_without_tokenizer_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(CheckpointError) as caught:
        Tokenizer.load(tmp_path)
    assert "tokenizer.json" in caught.value.problem.en
    assert "vocab.json" in caught.value.problem.en
    with pytest.raises(CheckpointError, match="nowhere"):
        Tokenizer.load(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"model": {"type": "BPE"}}', "\xff"])
def test_a_damaged_tokenizer_is_named(folder: Path, tmp_path: Path, content: str) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tokenizer.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path)


def test_without_an_end_token_loading_stops(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(CheckpointError) as caught:
        Tokenizer.load(tmp_path)
    assert "eos_token" in caught.value.remedy.en
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [3, 0], "pad_token_id": 1}')
    loaded = Tokenizer.load(tmp_path)
    assert (loaded.eos_id, loaded.pad_id) == (3, 1)
    assert loaded.stop_ids == {0, 3}


def test_ids_from_the_special_tokens_map(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    tokens = {"eos_token": {"content": "<|im_end|>", "lstrip": False}, "bos_token": "<|im_start|>"}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(tokens))
    loaded = Tokenizer.load(tmp_path)
    assert (loaded.eos_id, loaded.bos_id, loaded.pad_id) == (3, 2, 3)


def _save(trained: tokenizers.Tokenizer, folder: Path, eos: str) -> Tokenizer:
    trained.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": eos, "bos_token": eos}))
    return Tokenizer.load(folder)


def test_gpt2_form_has_bulk_encoding(tmp_path: Path) -> None:
    gpt2 = tokenizers.Tokenizer(models.BPE())
    gpt2.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    gpt2.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet)
    gpt2.train_from_iterator(["it's the end of the beginning, the end of the world " * 9], trainer)
    loaded = _save(gpt2, tmp_path, "<|endoftext|>")
    assert loaded.has_bulk_encoding
    text = "it's the 学 end <|endoftext|>  of\n\n it"
    assert loaded.encode_batch([text]) == [loaded.encode(text)]
    assert loaded.decode(loaded.encode(text)) == text


def test_other_vocabularies_fall_back_and_agree(tmp_path: Path) -> None:
    unigram = tokenizers.Tokenizer(models.Unigram())
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=["<unk>", "</s>"], unk_token="<unk>")
    unigram.train_from_iterator(["the end of the beginning and the end of the world " * 9], trainer)
    loaded = _save(unigram, tmp_path, "</s>")
    assert not loaded.is_byte_level
    assert not loaded.has_bulk_encoding
    text = "the end of the world"
    assert loaded.encode_batch([text, "</s>"]) == [loaded.encode(text), loaded.encode("</s>")]
    assert loaded.decode(loaded.encode(text)) == text
    assert loaded.eos_id not in loaded.encode("the </s> end")


def test_merges_that_tiktoken_would_read_otherwise_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    definition = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    merges = definition["model"]["merges"]
    merges[0], merges[1] = merges[1], merges[0]
    (tmp_path / "tokenizer.json").write_text(json.dumps(definition), "utf-8")
    loaded = Tokenizer.load(tmp_path)
    assert not loaded.has_bulk_encoding
    assert loaded.encode_batch(["the end 学"]) == [loaded.encode("the end 学")]


def test_ordinary_added_tokens_come_from_text_in_both_paths(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    trained = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    trained.add_tokens(["<think>"])
    trained.save(str(tmp_path / "tokenizer.json"))
    loaded = Tokenizer.load(tmp_path)
    assert loaded.vocab_size - 1 in loaded.encode("a<think>b")
    assert loaded.encode_batch(["a<think>b", "ab"]) == [loaded.encode("a<think>b"), loaded.encode("ab")]

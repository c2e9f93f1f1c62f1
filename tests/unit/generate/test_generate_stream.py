"""No half characters, whatever comes in whatever pieces; stop texts exact whatever the cut."""

import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, trainers

from hanlin.generate.stream import Detokenizer, StopTexts
from hanlin.tokenizer.tokenizer import Tokenizer


def stream(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    detokenizer = Detokenizer(tokenizer)
    return [*map(detokenizer.push, ids), detokenizer.finish()]


@given(ids=st.lists(st.integers(0, 299), max_size=60))
@settings(max_examples=500, deadline=None)
def test_pieces_of_any_ids_make_the_whole_text(tokenizer: Tokenizer, ids: list[int]) -> None:
    assert "".join(stream(tokenizer, ids)) == tokenizer.decode(ids)


@given(text=st.text(max_size=40))
@settings(max_examples=500, deadline=None)
def test_a_character_comes_with_its_last_byte_and_never_before(tokenizer: Tokenizer, text: str) -> None:
    ids = [tokenizer.token_id(chr_of(byte)) for byte in text.encode()]
    detokenizer = Detokenizer(tokenizer)
    shown = ""
    for end, id in enumerate(ids, 1):
        assert id is not None
        shown += detokenizer.push(id)
        assert shown == text.encode()[:end].decode(errors="ignore")
    assert detokenizer.finish() == ""


def test_every_character_of_unicode_at_every_split_point(tokenizer: Tokenizer) -> None:
    byte_ids = [tokenizer.token_id(chr_of(byte)) for byte in range(256)]
    for start in range(0, 0x110000, 97):
        character = chr(start if not 0xD800 <= start <= 0xDFFF else 0x5B66)
        ids = [id for byte in f"a{character}学".encode() if (id := byte_ids[byte]) is not None]
        for cut in range(len(ids) + 1):
            pieces = stream(tokenizer, ids[:cut])
            assert "\ufffd" not in "".join(pieces[:-1])
            assert "".join(pieces) == tokenizer.decode(ids[:cut])


def test_what_never_completes_shows_at_the_end_only(tokenizer: Tokenizer) -> None:
    ids = [tokenizer.token_id(chr_of(byte)) for byte in "学".encode()[:2]]
    assert stream(tokenizer, [id for id in ids if id is not None]) == ["", "", "\ufffd"]


def test_special_tokens_have_no_text(tokenizer: Tokenizer) -> None:
    ids = [3, *tokenizer.encode("学"), 0]
    assert "".join(stream(tokenizer, ids)) == "学"


def test_other_vocabularies_stream_too(tmp_path: Path) -> None:
    unigram = tokenizers.Tokenizer(models.Unigram())
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=["<unk>", "</s>"], unk_token="<unk>")
    unigram.train_from_iterator(["the end of the beginning and the end of the world " * 9], trainer)
    unigram.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    loaded = Tokenizer.load(tmp_path)
    ids = loaded.encode("the world of the end and the beginning")
    pieces = stream(loaded, ids)
    assert "".join(pieces) == loaded.decode(ids) == "the world of the end and the beginning"
    assert sum(map(bool, pieces)) > 3


def through(stops: list[str], pieces: list[str]) -> tuple[str, bool]:
    scanner = StopTexts(stops)
    shown = ""
    for piece in pieces:
        shown += scanner.push(piece)
        if scanner.reached:
            return shown, True
    return shown + scanner.finish(), False


@given(
    stops=st.lists(st.text("ab学", min_size=1, max_size=4), max_size=3),
    pieces=st.lists(st.text("ab学", max_size=5), max_size=8),
)
@settings(max_examples=600, deadline=None)
def test_stops_do_not_depend_on_how_the_text_is_cut(stops: list[str], pieces: list[str]) -> None:
    text = "".join(pieces)
    found = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]
    expected = (text[: min(found)[1]], True) if found else (text, False)
    assert through(stops, pieces) == expected
    assert through(stops, list(text)) == expected


@given(stops=st.lists(st.text("ab学", min_size=1, max_size=4), min_size=1, max_size=3), text=st.text("ab学c"))
@settings(max_examples=300, deadline=None)
def test_nothing_is_held_back_that_cannot_begin_a_stop(stops: list[str], text: str) -> None:
    scanner = StopTexts(stops)
    shown = ""
    for end, character in enumerate(text, 1):
        shown += scanner.push(character)
        if scanner.reached:
            return
        held = text[len(shown) : end]
        assert held == "" or any(stop.startswith(held) for stop in stops)


@pytest.mark.parametrize(
    ("stops", "pieces", "shown"),
    [
        (["\n\n"], ["one\n", "\ntwo"], "one"),
        (["。"], ["学而时习之。", "不亦"], "学而时习之"),
        (["end"], ["the e", "n"], "the en"),
        (["aab"], ["a", "a", "a", "b"], "a"),
    ],
)
def test_stops_by_hand(stops: list[str], pieces: list[str], shown: str) -> None:
    assert through(stops, pieces)[0] == shown


def chr_of(byte: int) -> str:
    """The character by which a byte-level vocabulary writes a byte."""
    from hanlin.tokenizer.pieces import byte_of_character

    return next(character for character, value in byte_of_character().items() if value == byte)

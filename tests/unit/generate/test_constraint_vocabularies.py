"""Constraints over vocabularies of other kinds than bytes: marks for spaces, characters that are missing, words."""

import json
from pathlib import Path
from typing import Any

import pytest

from babble import babble
from hanlin.base.errors import RequestError
from hanlin.tokenizer.tokenizer import Tokenizer

pytest.importorskip("llguidance")


def pieces_tokenizer(folder: Path, model: dict[str, Any], **rest: Any) -> Tokenizer:
    """A little tokenizer made by hand."""
    definition = {"version": "1.0", "added_tokens": [{"id": 0, "content": "</s>", "special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}], "normalizer": None, "post_processor": None, "model": model} | rest  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(definition), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"eos_token": "</s>"}', encoding="utf-8")
    return Tokenizer.load(folder)


METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}


def test_vocabularies_that_mark_spaces(tmp_path: Path) -> None:
    """Pieces of SentencePiece: spaces inside a text are right, and no token puts one where none may be."""
    pieces = ["</s>", "▁yes", "yes", "▁no", "n", "o", ",", "▁", "是", "▁是"]
    model = {"type": "Unigram", "unk_id": 0, "vocab": [[piece, -1.0 - at] for at, piece in enumerate(pieces)]}
    tokenizer = pieces_tokenizer(tmp_path, model, pre_tokenizer=METASPACE, decoder=METASPACE)
    choices = ["yes, no", "no", "是 yes"]
    assert {babble(tokenizer, seed, choices=choices)[0] for seed in range(30)} == set(choices)


def test_a_vocabulary_without_the_characters_gives_up(tmp_path: Path) -> None:
    """Nothing can be written, or not to its end: never a text that only looks complete."""
    model = {"type": "Unigram", "unk_id": 0, "vocab": [["</s>", -1.0], ["a", -2.0]]}
    tokenizer = pieces_tokenizer(tmp_path, model, pre_tokenizer=METASPACE, decoder=METASPACE)
    assert babble(tokenizer, 0, choices=["ab"]) == ("a", "length")
    assert babble(tokenizer, 0, choices=["aa"]) == ("aa", "stop")
    with pytest.raises(RequestError, match="No text can satisfy"):
        babble(tokenizer, 0, choices=["b"])


def test_a_vocabulary_of_words_is_refused(tmp_path: Path) -> None:
    model = {"type": "WordPiece", "unk_token": "</s>", "continuing_subword_prefix": "##", "max_input_chars_per_word": 9, "vocab": {"</s>": 0, "a": 1}}  # fmt: skip
    tokenizer = pieces_tokenizer(tmp_path, model, pre_tokenizer={"type": "BertPreTokenizer"}, decoder=None)
    with pytest.raises(RequestError, match="writes words"):
        babble(tokenizer, 0, choices=["a"])

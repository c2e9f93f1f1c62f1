"""Frames, truncation and the mark of a beginning where no reference is needed."""

import json
import shutil
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers

from hanlin.base.errors import CheckpointError, RequestError
from hanlin.tokenizer.framing import longest_first
from hanlin.tokenizer.tokenizer import Tokenizer


@given(first=st.integers(0, 50), second=st.integers(0, 50), room=st.integers(0, 60))
@settings(max_examples=2000, deadline=None)
def test_the_longer_text_gives_way_first(first: int, second: int, room: int) -> None:
    kept = longest_first([first, second], room)
    assert sum(kept) == min(room, first + second)
    assert all(0 <= keep <= length for keep, length in zip(kept, (first, second), strict=True))
    cut = [length - keep for keep, length in zip(kept, (first, second), strict=True)]
    if all(cut):
        assert abs(kept[0] - kept[1]) <= 1  # both gave: they are as long
    elif any(cut):
        whole = cut.index(0)
        assert kept[whole] <= kept[1 - whole] + 1  # only the longer gave, but for an odd token


def test_what_was_cut_is_counted(tokenizer: Tokenizer, english: str) -> None:
    whole = tokenizer.encode(english)
    encoding = tokenizer.encode_pair(english, "学", max_length=20)
    assert len(encoding.ids) == 20
    assert encoding.cut == len(whole) + len(tokenizer.encode("学")) - 18
    assert tokenizer.encode_single(english).cut == 0
    batch = tokenizer.encode_inputs([english, ("a", "b")], max_length=20)
    assert batch.cut_B.tolist() == [len(whole) - 19, 0]
    assert batch.ids_BT.shape == (2, 20)
    assert batch.attended_BT.sum(1).tolist() == [20, 4]
    assert (batch.ids_BT[~batch.attended_BT] == tokenizer.pad_id).all()
    assert batch.special_BT[1].tolist() == [True, False, True, False] + [True] * 16


def test_no_room_for_the_special_tokens(tokenizer: Tokenizer) -> None:
    with pytest.raises(RequestError, match="no room for the 2 special tokens"):
        tokenizer.encode_pair("a", "b", max_length=1)


def test_a_frame_of_another_form_is_refused_when_it_is_needed(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    definition = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    processor = definition["post_processor"]
    definition["post_processor"] = {"type": "Sequence", "processors": [processor, processor]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(definition), "utf-8")
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.encode("the") != []
    with pytest.raises(CheckpointError, match="TemplateProcessing"):
        tokenizer.encode_single("the")


@pytest.mark.parametrize(
    ("form", "marked"),
    [("first", [True, False, False]), ("always", [True, True, False]), ("prepend", [True, True, False])],
)
def test_the_mark_of_a_beginning(tmp_path: Path, form: str, marked: list[bool]) -> None:
    bpe = tokenizers.Tokenizer(models.BPE({"▁": 0, "a": 1, "</s>": 2}, []))
    bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never" if form == "prepend" else form)
    if form == "prepend":
        bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bpe.decoder = decoders.Metaspace()
    bpe.add_special_tokens(["</s>"])
    bpe.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    tokenizer = Tokenizer.load(tmp_path)
    got = [tokenizer.encode("a"), tokenizer.encode_inside("a", True), tokenizer.encode_inside("a", False)]
    assert got == [[0, 1] if mark else [1] for mark in marked]


@pytest.mark.parametrize("name", ["vocab.txt", "merges.txt", "tokenizer.model", "spiece.model", "source.spm"])
def test_older_files_are_refused_with_the_way_to_convert(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(CheckpointError) as caught:
        Tokenizer.load(tmp_path)
    assert name in caught.value.problem.en
    remedy = "cannot make one" if name == "source.spm" else "save_pretrained"
    assert remedy in caught.value.remedy.en

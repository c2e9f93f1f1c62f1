import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.base.errors import CheckpointError
from hanlin.base.files import atomic_folder
from hanlin.base.manifest import FORMAT, NAME, fingerprint, read_manifest, verify_files, write_manifest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def write(folder, content="一", **parts):
    with atomic_folder(folder) as fresh:
        (fresh / "sub").mkdir()
        (fresh / "sub" / "a.txt").write_text(content, "utf-8")
        return write_manifest(fresh, "corpus", {"seed": 1, "split": {"valid": 0.1}}, **parts)


def test_what_is_written_is_read(tmp_path):
    written = write(tmp_path / "a", inputs={"text": "0f"}, report={"documents": 3})
    read = read_manifest(tmp_path / "a", "corpus")
    assert read == written
    assert list(read.files) == ["sub/a.txt"]
    verify_files(tmp_path / "a", read)


def test_equal_input_gives_equal_bytes_and_other_content_another_fingerprint(tmp_path):
    one, same, other = write(tmp_path / "a"), write(tmp_path / "b"), write(tmp_path / "c", "二")
    assert (tmp_path / "a" / NAME).read_bytes() == (tmp_path / "b" / NAME).read_bytes()
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_the_report_is_not_part_of_what_a_folder_is(tmp_path):
    assert write(tmp_path / "a", report={"x": 1}).fingerprint == write(tmp_path / "b").fingerprint
    assert write(tmp_path / "c", inputs={"x": "1"}).fingerprint != write(tmp_path / "b").fingerprint


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(value):
    turned = dict(reversed(value.items()))
    assert fingerprint(value) == fingerprint(turned)
    assert fingerprint({**value, "\0new": 0}) != fingerprint({**value, "\0new": 1})


@pytest.mark.parametrize("change", ["changed", "missing"])
def test_a_changed_or_missing_file_is_found_and_named(tmp_path, change):
    manifest = write(tmp_path / "a")
    path = tmp_path / "a" / "sub" / "a.txt"
    path.write_text("丁", "utf-8") if change == "changed" else path.unlink()
    expected = "damaged" if change == "changed" else "missing"
    with pytest.raises(CheckpointError, match=rf"a\.txt is {expected}"):
        verify_files(tmp_path / "a", manifest)


def test_a_newer_format_is_refused_even_with_keys_we_do_not_know(tmp_path):
    write(tmp_path / "a")
    path = tmp_path / "a" / NAME
    path.write_text(json.dumps({"format": FORMAT + 1, "kind": "corpus", "signature": "x"}))
    with pytest.raises(CheckpointError, match=f"format {FORMAT + 1}; this Hanlin reads up to") as caught:
        read_manifest(tmp_path / "a")
    assert "pip install -U hanlin" in caught.value.remedy.en


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"kind": "corpus"}', '{"format": "x"}', '{"format": null}', "\ud800"]
)
def test_damaged_json_is_named(tmp_path, text):
    write(tmp_path / "a")
    (tmp_path / "a" / NAME).write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(CheckpointError, match=rf"{NAME} is damaged"):
        read_manifest(tmp_path / "a")


def test_another_kind_and_a_folder_of_someone_else_are_refused(tmp_path):
    write(tmp_path / "a")
    with pytest.raises(CheckpointError, match="holds a corpus, not a tokenizer"):
        read_manifest(tmp_path / "a", "tokenizer")
    with pytest.raises(CheckpointError, match=f"has no {NAME}"):
        read_manifest(tmp_path)


def test_reading_puts_back_what_a_kill_left_between(tmp_path):
    write(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / ".a.old")
    assert read_manifest(tmp_path / "a").kind == "corpus"

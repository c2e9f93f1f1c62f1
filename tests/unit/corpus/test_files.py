import gzip
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from hanlin.base.errors import DataError
from hanlin.corpus.config import CorpusConfig, FilesSource
from hanlin.corpus.files import read_files
from hanlin.corpus.intake import Intake
from hanlin.corpus.sources import inputs_fingerprint

TEXTS = ["First text.", "第二篇，有逗号。", 'Third "quoted"\nwith a line break.']


def read(path, **settings):
    source = FilesSource(path=str(path), **settings)
    intake = Intake(source.path, source.on_error)
    return [raw.text for raw in read_files(source, intake)], intake


def write_records(path, kind):
    if kind == "jsonl":
        path.write_text("".join(json.dumps({"n": 1, "text": t}) + "\n" for t in TEXTS), "utf-8")
    elif kind == "json":
        path.write_text(json.dumps([{"text": t} for t in TEXTS], indent=2), "utf-8")
    elif kind == "csv":
        rows = ['"' + t.replace('"', '""') + '"' for t in TEXTS]
        path.write_text("label,text\n" + "".join(f"1,{row}\n" for row in rows), "utf-8")
    else:
        pq.write_table(pa.table({"n": [1, 2, 3], "text": TEXTS}), path)


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_record_files_give_their_text_column(tmp_path, kind):
    write_records(tmp_path / f"a.{kind}", kind)
    texts, intake = read(tmp_path / f"a.{kind}")
    assert texts == TEXTS
    assert intake.as_report()["text_fields"] == {"text": 1}


def test_tsv_takes_quotation_marks_as_text(tmp_path):
    (tmp_path / "a.tsv").write_text('label\ttext_a\n1\the said "no\n0\tplain\n', "utf-8")
    assert read(tmp_path / "a.tsv")[0] == ['he said "no', "plain"]


def test_semicolon_csv_and_a_field_beyond_the_csv_default_limit(tmp_path):
    (tmp_path / "a.csv").write_text(f"id;content\n1;{'x' * 300_000}\n", "utf-8")
    assert [len(text) for text in read(tmp_path / "a.csv")[0]] == [300_000]


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_compressed_and_truncated(tmp_path, compress):
    ending = {gzip.compress: "gz", zstandard.compress: "zst"}[compress]
    raw = "".join(f"line {i * i}\n" for i in range(20_000)).encode()
    path = tmp_path / f"a.txt.{ending}"
    path.write_bytes(compress(raw))
    assert "".join(read(path)[0]).encode() == raw
    path.write_bytes(compress(raw)[:-20])
    with pytest.raises(DataError, match=r"cut off|damaged"):
        read(path)
    assert read(path, on_error="skip")[1].troubles == {"damaged compression": 1}


def test_two_zst_frames_are_both_read(tmp_path):
    path = tmp_path / "a.txt.zst"
    path.write_bytes(zstandard.compress(b"one\n") + zstandard.compress(b"two\n"))
    assert read(path)[0] == ["one\ntwo\n"]


def test_folder_is_read_in_order_and_says_what_it_left_out(tmp_path):
    for name in ("b.txt", "a.md", "deep/c.txt", "picture.png", ".hidden.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name, "utf-8")
    texts, intake = read(tmp_path)
    assert texts == ["a.md", "b.txt", "deep/c.txt"]
    assert intake.ignored_endings == {".png": 1}
    assert read(tmp_path / "**/*.txt")[0] == ["b.txt", "deep/c.txt"]


def test_long_text_is_cut_at_blank_lines_and_nothing_is_lost(tmp_path):
    paragraphs = [f"Paragraph {i} " + "word " * 60 for i in range(200)]
    (tmp_path / "a.txt").write_bytes("\r\n\r\n".join(paragraphs).encode())
    texts, intake = read(tmp_path / "a.txt", max_document_characters=2_000)
    assert "".join(texts) == "\n\n".join(paragraphs)
    assert max(map(len, texts)) <= 2_000
    assert all(text.startswith("Paragraph") for text in texts)
    assert intake.counts["files cut into several documents"] == 1


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-be", "gb18030"])
def test_encoding_is_reported_and_newlines_are_unified(tmp_path, codec):
    (tmp_path / "a.txt").write_bytes("天气很好。\r\n我们去公园。\r散步".encode(codec))
    texts, intake = read(tmp_path / "a.txt")
    assert texts == ["天气很好。\n我们去公园。\n散步"]
    assert sum(intake.encodings.values()) == 1


def test_ascii_pages_before_the_first_chinese_letter(tmp_path):
    text = "plain ascii line\n" * 20_000 + "后来才有中文，用的是国标编码。\n"
    (tmp_path / "a.txt").write_bytes(text.encode("gb18030"))
    texts, intake = read(tmp_path / "a.txt", max_document_characters=10_000_000)
    assert texts == [text]
    assert intake.encodings == {"gb18030": 1}


def test_undecodable_bytes_stop_the_run_or_are_counted(tmp_path):
    raw = bytearray(("好天气。" * 100).encode("utf-8"))
    raw[60] = 0xFF
    (tmp_path / "a.txt").write_bytes(bytes(raw))
    with pytest.raises(DataError, match=r"a\.txt: byte 60 is not utf-8"):
        read(tmp_path / "a.txt")
    texts, intake = read(tmp_path / "a.txt", on_error="skip")
    assert "\ufffd" in texts[0]
    assert texts[0].endswith("好天气。")
    assert intake.troubles == {"undecodable bytes": 1}
    assert intake.counts["undecodable places replaced by U+FFFD"] >= 1


def test_wrong_encoding_named_by_the_user_says_so(tmp_path):
    (tmp_path / "a.txt").write_bytes("你好，世界".encode("gb18030"))
    with pytest.raises(DataError, match="not utf-8"):
        read(tmp_path / "a.txt", encoding="utf-8")
    assert read(tmp_path / "a.txt", encoding="gb18030")[0] == ["你好，世界"]


def test_malformed_jsonl_names_file_line_and_reason(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"text": "good"}\n{"text": "bad"\n[1]\n{"other": 1}\n{"text": "end"}\n', "utf-8"
    )
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a.jsonl")
    assert "a.jsonl:2" in caught.value.problem.en
    assert "a.jsonl:2" in caught.value.problem.zh
    assert "on_error: skip" in caught.value.remedy.zh
    texts, intake = read(tmp_path / "a.jsonl", on_error="skip")
    assert texts == ["good", "end"]
    assert [sample["line"] for sample in intake.trouble_samples] == [2, 3, 4]


def test_csv_row_with_a_column_too_many(tmp_path):
    (tmp_path / "a.csv").write_text("id,text\n1,good\n2,bad,extra\n3,end\n", "utf-8")
    with pytest.raises(DataError, match=r"a\.csv:3: 3 columns where the header has 2"):
        read(tmp_path / "a.csv")
    assert read(tmp_path / "a.csv", on_error="skip")[0] == ["good", "end"]


@pytest.mark.parametrize(
    ("name", "content", "settings", "message"),
    [
        ("empty.txt", b"", {}, "empty"),
        ("picture.txt", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8, {}, "not text"),
        ("a.xyz", b"text", {}, "unknown ending"),
        ("a.jsonl", b'{"headline": "x", "n": 1}\n', {}, "headline, n"),
        ("b.jsonl", b'{"text": "x"}\n', {"text": "story"}, "no field 'story'"),
        ("c.jsonl", b'{"text": 5}\n', {}, "is a int, not text"),
        ("broken.parquet", b"PAR1 not really", {}, "Parquet"),
        ("a.csv", b'id,text\n1,"never closed\n', {}, "a.csv:"),
    ],
)
def test_unusable_files_are_named(tmp_path, name, content, settings, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(tmp_path / name, **settings)
    assert message in caught.value.problem.en
    assert name in caught.value.problem.en
    assert name in caught.value.problem.zh


@pytest.mark.parametrize("path", ["missing.txt", "*.txt", "."])
def test_nothing_to_read(tmp_path, path):
    with pytest.raises(DataError, match=r"does not exist|no files to read"):
        read(tmp_path / path)


def test_lists_of_lines_are_joined(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"paragraphs": ["床前明月光", "疑是地上霜"]}), "utf-8")
    assert read(tmp_path / "a.jsonl")[0] == ["床前明月光\n疑是地上霜"]


def test_json_of_one_object_a_line_and_broken_json(tmp_path):
    (tmp_path / "lines.json").write_text('{"text": "one"}\n{"text": "two"}\n', "utf-8")
    assert read(tmp_path / "lines.json")[0] == ["one", "two"]
    (tmp_path / "broken.json").write_text('[{"text": "one"},\n{"text": ]', "utf-8")
    with pytest.raises(DataError, match=r"broken\.json:2"):
        read(tmp_path / "broken.json")


def test_names_that_are_not_utf8_are_told_byte_by_byte(tmp_path):
    name = os.fsencode(tmp_path) + "/文.txt".encode("gb18030")  # as old archives from Windows unpack
    try:
        with open(name, "wb") as file:
            file.write("正文。".encode())
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    source = FilesSource(path=str(tmp_path))
    (raw,) = read_files(source, Intake("x"))
    assert raw.source == f"{tmp_path.as_posix()}/\\xce\\xc4.txt"
    assert len(inputs_fingerprint(CorpusConfig(sources=(source,)))) == 16


def test_nesting_without_end_is_a_malformed_record(tmp_path):
    (tmp_path / "a.jsonl").write_text("[" * 200_000 + "\n" + json.dumps({"text": "kept"}) + "\n")
    with pytest.raises(DataError, match=r"a\.jsonl:1"):
        read(tmp_path / "a.jsonl")
    texts, intake = read(tmp_path / "a.jsonl", on_error="skip")
    assert texts == ["kept"]
    assert intake.troubles["malformed record"] == 1

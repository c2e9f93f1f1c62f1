"""Files of every format that people have, as rows; and what is wrong with them, named by file and line."""

import gzip
import json
from pathlib import Path

import pytest

from hanlin.base.errors import DataError
from hanlin.base.records import Labelled, TaggedWords, Written
from hanlin.records.config import DataConfig
from hanlin.records.load import load_records
from hanlin.records.rows import format_of, read_tables

ROWS = [("好吃", "1"), ("难吃", "0"), ("还行", "1")]


def texts(path: Path, **settings: object) -> list[tuple[str, str | None]]:
    loaded = load_records(Labelled, [path], DataConfig.model_validate(settings))
    return [(record.text, record.answer) for record in loaded.records]


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_the_same_rows_of_every_format_are_the_same_records(tmp_path: Path) -> None:
    objects = [{"text": text, "label": label} for text, label in ROWS]
    lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in objects)
    table = [("text", "label"), *ROWS]
    files = [
        written(tmp_path / "a.jsonl", lines),
        written(tmp_path / "b.json", json.dumps(objects)),
        written(tmp_path / "c.json", lines),
        written(
            tmp_path / "d.json", json.dumps({"text": [t for t, _ in ROWS], "label": [x for _, x in ROWS]})
        ),
        written(tmp_path / "e.json", json.dumps({"version": "1", "data": objects})),
        written(tmp_path / "f.csv", "".join(f"{t},{x}\n" for t, x in table)),
        written(tmp_path / "g.csv", "".join(f"{t};{x}\r\n" for t, x in table)),
        written(tmp_path / "h.tsv", "".join(f"{t}\t{x}\n" for t, x in table)),
        written(tmp_path / "i.txt", "".join(f"{t}\t{x}\n" for t, x in table)),
        written(tmp_path / "j.jsonl.gz", gzip.compress(lines.encode())),
        written(tmp_path / "k.csv", "".join(f"{t},{x}\n" for t, x in table).encode("gb18030")),
        written(tmp_path / "l.tsv", b"\xef\xbb\xbf" + "".join(f"{t}\t{x}\n" for t, x in table).encode()),
        written(tmp_path / "m.tsv", "".join(f"{t}\t{x}\n" for t, x in ROWS)),
        written(tmp_path / "n.txt", "".join(f"__label__{x} {t}\n" for t, x in ROWS)),
    ]
    for file in files:
        assert texts(file) == ROWS, file.name


def test_parquet_rows_are_records(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.table({"text": [text for text, _ in ROWS], "label": [int(label) for _, label in ROWS]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert texts(tmp_path / "a.parquet") == ROWS


def test_a_folder_is_all_of_its_files_and_not_its_readme(tmp_path: Path) -> None:
    written(tmp_path / "one.tsv", "text\tlabel\n好\t1\n")
    written(tmp_path / "two.jsonl", '{"text": "坏", "label": 0}\n')
    written(tmp_path / "README.md", "not a record")
    assert texts(tmp_path) == [("好", "1"), ("坏", "0")]


def test_quotation_marks_are_text_in_tsv_and_quote_in_csv(tmp_path: Path) -> None:
    tsv = written(tmp_path / "a.tsv", 'text\tlabel\n"He said" so\t1\n"\t0\n')
    csv = written(tmp_path / "a.csv", 'text,label\n"He said ""so"", twice\nor more",1\n')
    assert texts(tsv) == [('"He said" so', "1"), ('"', "0")]
    assert texts(csv) == [('He said "so", twice\nor more', "1")]


def test_a_table_without_header_is_recognised_and_its_columns_are_numbers(tmp_path: Path) -> None:
    cola = written(
        tmp_path / "cola.tsv", "gj04\t1\t\tThe sailors rode the breeze.\ngj04\t0\t*\tThe more does Bill.\n"
    )
    loaded = load_records(Labelled, [cola], DataConfig())
    assert loaded.columns == {"label": "2", "text": "4"}
    assert loaded.records[1] == Labelled(text="The more does Bill.", labels=("0",))
    assert any("no header" in note.en for note in loaded.notes)
    named = load_records(Labelled, [cola], DataConfig(columns={"text": "4", "label": "1"}))
    assert named.records[0].labels == ("gj04",)


def test_columns_of_one_name_and_without_name_are_told_apart_and_said(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", ",text,text,label\n0,a,b,1\n")
    loaded = load_records(Labelled, [file], DataConfig())
    assert loaded.records == [Labelled(text="a", labels=("1",))]
    assert "not used: column 1, text (3)" in loaded.notes[0].en


def test_a_word_that_stands_below_is_no_header(tmp_path: Path) -> None:
    file = written(tmp_path / "a.tsv", "what a film\tgood\nso dull\tbad\nI laughed\tgood\n")
    assert len(texts(file)) == 3


def test_every_wrong_row_is_named_with_line_reason_and_mend(tmp_path: Path) -> None:
    file = written(
        tmp_path / "a.jsonl",
        '{"text": "a", "label": 1}\n{"text": "b", "label": 0\n[1]\n{"text": " ", "label": 1}\n{"text": "c"}\n',
    )
    loaded = load_records(Labelled, [file], DataConfig(on_error="skip"))
    assert [record.text for record in loaded.records] == ["a"]
    assert [one.place.rpartition(":")[2] for one in loaded.skipped] == ["2", "3", "4", "5"]
    assert all(one.mend.en and one.mend.zh for one in loaded.skipped)
    with pytest.raises(DataError) as error:
        load_records(Labelled, [file], DataConfig())
    assert "4 rows" in error.value.problem.en
    assert "a.jsonl:2" in error.value.problem.en
    assert "a.jsonl:2" in error.value.problem.zh


def test_a_row_of_other_width_and_an_open_quote_are_named(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", 'text,label\na,1\nb,1,2\nc,0\n"d,1\n')
    loaded = load_records(Labelled, [file], DataConfig(on_error="skip"))
    assert [(one.place.rpartition(":")[2], one.reason.en) for one in loaded.skipped] == [
        ("5", "a quotation mark is opened and never closed"),
        ("3", "3 columns where there should be 2"),
    ]
    assert len(loaded) == 2


def test_two_files_of_different_columns_are_both_named(tmp_path: Path) -> None:
    one = written(tmp_path / "one.csv", "text,label\na,1\n")
    two = written(tmp_path / "two.csv", "sentence,class\nb,0\n")
    with pytest.raises(DataError) as error:
        load_records(Labelled, [one, two], DataConfig())
    assert "one.csv" in error.value.problem.en
    assert "two.csv" in error.value.problem.en
    assert "sentence" in error.value.problem.en


@pytest.mark.parametrize(
    ("columns", "problem", "remedy"),
    [
        ({"label": "sentimnt"}, "no column 'sentimnt'", "'Sentiment'?"),
        ({"labl": "text"}, "no field 'labl'", "'label'?"),
        ({}, "known to hold 'label'", "--label"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_the_nearest(
    tmp_path: Path, columns: dict[str, str], problem: str, remedy: str
) -> None:
    header = "text,Sentiment" if columns else "text,outcome"
    file = written(tmp_path / "a.csv", f"{header}\na,1\nb,2\n")
    with pytest.raises(DataError) as error:
        load_records(Labelled, [file], DataConfig(columns=columns))
    assert problem in error.value.problem.en
    assert remedy in error.value.remedy.en


def test_an_empty_file_a_missing_one_and_an_empty_folder_are_errors(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    written(tmp_path / "nothing.csv", "")
    for path in (tmp_path / "nothing.csv", tmp_path / "missing.csv", tmp_path / "empty"):
        with pytest.raises(DataError):
            load_records(Labelled, [path], DataConfig())


def test_conll_columns_with_documents_and_comments_are_sentences(tmp_path: Path) -> None:
    file = written(
        tmp_path / "eng.train",
        "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\n# sent_id = 2\nPeter NNP B-PER\nBlackburn NNP I-PER\n",
    )
    assert format_of(file) == "conll"
    loaded = load_records(TaggedWords, [file], DataConfig())
    assert [record.words for record in loaded.records] == [("EU", "rejects"), ("Peter", "Blackburn")]
    assert loaded.records[1].tags == ("B-PER", "I-PER")
    speech = load_records(TaggedWords, [file], DataConfig(columns={"tags": "2"}))
    assert speech.records[0].tags == ("NNP", "VBZ")


def test_a_line_of_conll_without_tag_is_named(tmp_path: Path) -> None:
    file = written(tmp_path / "a.conll", "EU B-ORG\nsays O\n\nPeter B-PER\nruns\n\nhe O\nran O\n")
    loaded = load_records(TaggedWords, [file], DataConfig(on_error="skip"))
    assert len(loaded) == 2
    assert [one.place.rpartition(":")[2] for one in loaded.skipped] == ["5"]


def test_aligned_files_go_line_by_line_and_must_be_as_long(tmp_path: Path) -> None:
    english = written(tmp_path / "train.en", "Hello.\nGood night.\n")
    german = written(tmp_path / "train.de", "Hallo.\nGute Nacht.\n")
    loaded = load_records(Written, [english, german], DataConfig())
    assert loaded.records[1] == Written(source="Good night.", targets=("Gute Nacht.",))
    back = load_records(Written, [english, german], DataConfig(columns={"source": "de", "target": "en"}))
    assert back.records[0] == Written(source="Hallo.", targets=("Hello.",))
    written(german, "Hallo.\n")
    with pytest.raises(DataError, match="different numbers of lines"):
        load_records(Written, [english, german], DataConfig())


def test_aligned_files_may_be_compressed_and_named_before_their_ending(tmp_path: Path) -> None:
    one = written(tmp_path / "train.en.gz", gzip.compress(b"Hello.\n"))
    two = written(tmp_path / "train.zh.gz", gzip.compress("你好。\n".encode()))
    assert load_records(Written, [one, two], DataConfig()).columns == {"source": "en", "target": "zh"}
    three = written(tmp_path / "eng_Latn.dev", "Hello.\n")
    four = written(tmp_path / "zho_Hans.dev", "你好。\n")
    assert load_records(Written, [three, four], DataConfig()).columns == {
        "source": "eng_Latn",
        "target": "zho_Hans",
    }


def test_notes_of_reading_are_in_both_languages(tmp_path: Path) -> None:
    file = written(tmp_path / "a.tsv", "so it goes\t1\nit goes on\t0\n")
    (table,) = read_tables([file], DataConfig())
    assert table.numbered
    assert all(note.en and note.zh and note.en != note.zh for note in table.notes)

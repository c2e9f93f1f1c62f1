"""Records written as JSONL and for annotation come back as they were; what people may spoil is named."""

import csv
import json
from pathlib import Path

import pytest

from hanlin.base.errors import DataError
from hanlin.base.records import (
    Dialogue,
    Extracted,
    Labelled,
    Matched,
    Question,
    Relation,
    Scored,
    Span,
    TaggedWords,
    TaskRecord,
    Turn,
    Written,
)
from hanlin.records.annotate import read_annotations, write_annotations, write_records
from hanlin.records.config import DataConfig
from hanlin.records.load import load_records
from hanlin.records.loaded import Loaded

RECORDS: list[TaskRecord] = [
    Labelled(text="=1+1, \"so\"\nhe said", pair="@对", labels=("a", "b|c")),
    Labelled(text="plain", labels=("1",)),
    Scored(text="-5", pair="'quoted", score=3.5),
    TaggedWords(words=("EU", "rejects", "["), tags=("B-ORG", "O", "O")),
    Extracted(text="张三在北京", spans=(Span(start=0, stop=2, kind="人"),), relations=(
        Relation(subject="张三", relation="在", object="北京", subject_span=(0, 2), object_span=(3, 5)),)),
    Question(question="谁？", context="张三在北京", answers=("张三",), starts=(0,)),
    Question(question="2 + 2?", choices=("3", "4"), right=1, answers=("4",)),
    Question(question="q", context="c", answers=(), starts=()),
    Written(source="Hi", targets=("你好", "嗨"), control={"style": "formal"}),
    Matched(query="q", found=("a",), hard_negatives=("b",)),
    Dialogue(messages=(Turn(role="user", content="a"), Turn(role="assistant", content="b", learn=False),
                       Turn(role="user", content="c"), Turn(role="assistant", content="d"))),
]  # fmt: skip


def held(*records: TaskRecord) -> Loaded[TaskRecord]:
    return Loaded(
        list(records), [f"a.csv:{number}" for number in range(2, len(records) + 2)], [{} for _ in records]
    )


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_written_records_are_read_as_they_were(tmp_path: Path, record: TaskRecord) -> None:
    write_records(tmp_path / "out.jsonl", held(record))
    assert load_records(type(record), [tmp_path / "out.jsonl"], DataConfig()).records == [record]


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
@pytest.mark.parametrize(
    "record",
    [one for one in RECORDS if not isinstance(one, Matched)],
    ids=lambda record: type(record).__name__,
)
def test_annotations_come_back_as_they_were(tmp_path: Path, record: TaskRecord, ending: str) -> None:
    loaded = held(record)
    write_annotations(tmp_path / f"out{ending}", loaded)
    assert read_annotations(tmp_path / f"out{ending}", loaded).records == [record]


def test_a_spreadsheet_sees_utf8_and_no_formula(tmp_path: Path) -> None:
    write_annotations(tmp_path / "out.csv", held(Labelled(text="=SUM(A1)", labels=None)))
    raw = (tmp_path / "out.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    (row,) = csv.DictReader(raw.decode("utf-8-sig").splitlines())
    assert row["text"] == "'=SUM(A1)"
    assert row["labels"] == ""


def answered(tmp_path: Path, *rows: tuple[str, str, str]) -> Path:
    file = tmp_path / "back.csv"
    with file.open("w", encoding="gb18030", newline="") as opened:
        csv.writer(opened, delimiter=";").writerows([("place", "text", "labels"), *rows])
    return file


def test_what_people_wrote_is_taken_and_empty_answers_are_counted(tmp_path: Path) -> None:
    loaded = held(Labelled(text="很好"), Labelled(text="不好"), Labelled(text="还行"))
    file = answered(
        tmp_path, ("a.csv:3", "不好", "负"), ("a.csv:2", "很好", '["正", "喜"]'), ("a.csv:4", "还行", "")
    )
    back = read_annotations(file, loaded, labels=("正", "负", "喜"))
    assert [(record.answer, place) for record, place in zip(back.records, back.places, strict=True)] == [
        ("正, 喜", "a.csv:2"),
        ("负", "a.csv:3"),
    ]
    assert "1 of 3 records have no answer" in back.notes[0].en


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("a.csv:9", "很好", "正"), "no record came from 'a.csv:9'"),
        (("a.csv:2", "很 好", "正"), "not the one that was given out"),
        (("a.csv:2", "很好", "正面"), "'正面' is not one of the labels"),
        (("a.csv:3", "不好", "正"), "stands twice"),
    ],
)
def test_what_was_spoilt_is_named_with_its_line(
    tmp_path: Path, row: tuple[str, str, str], reason: str
) -> None:
    loaded = held(Labelled(text="很好"), Labelled(text="不好"))
    file = answered(tmp_path, ("a.csv:3", "不好", "负"), row)
    with pytest.raises(DataError) as error:
        read_annotations(file, loaded, labels=("正", "负"))
    assert reason in error.value.problem.en
    assert "back.csv:3" in error.value.problem.en
    assert len(read_annotations(file, loaded, labels=("正", "负"), on_error="skip")) == 1


def test_a_file_without_places_cannot_be_taken_back(tmp_path: Path) -> None:
    file = tmp_path / "back.jsonl"
    file.write_text(json.dumps({"text": "a", "labels": ["b"]}))
    with pytest.raises(DataError, match="place"):
        read_annotations(file, held(Labelled(text="a")))

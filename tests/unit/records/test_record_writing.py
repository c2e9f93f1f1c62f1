"""Translations, summaries and searches as records."""

import json
from pathlib import Path
from typing import Any

import pytest

from hanlin.base.errors import DataError
from hanlin.base.records import Matched, TaskRecord, Written
from hanlin.records.config import DataConfig
from hanlin.records.load import load_records
from hanlin.records.loaded import Loaded
from hanlin.records.retrieval import load_retrieval


def load(tmp_path: Path, schema: type[TaskRecord], *rows: dict[str, Any], **settings: Any) -> Loaded[Any]:
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return load_records(schema, [file], DataConfig.model_validate(settings))


@pytest.mark.parametrize(
    ("row", "record"),
    [
        ({"en": "Hi", "zh": "你好", "by": "x"}, Written(source="Hi", targets=("你好",))),
        ({"translation": {"en": "Hi", "de": "Hallo"}}, Written(source="Hi", targets=("Hallo",))),
        ({"src": "Hi", "tgr": "你好"}, Written(source="Hi", targets=("你好",))),
        ({"article": "long", "highlights": "short"}, Written(source="long", targets=("short",))),
        ({"dialogue": "d", "summary1": "a", "summary2": "b"}, Written(source="d", targets=("a", "b"))),
        (
            {"source": ["One.", "Two."], "target": ["A.", "B."]},
            Written(source="One. Two.", targets=("A.", "B.")),
        ),
        ({"正文": "长", "摘要": "短"}, Written(source="长", targets=("短",))),
        (
            {"instruction": "Edit.", "input": "He go", "output": "[1]"},
            Written(source="Edit.\nHe go", targets=("[1]",)),
        ),
    ],
)
def test_source_and_targets_are_guessed(tmp_path: Path, row: dict[str, Any], record: Written) -> None:
    assert load(tmp_path, Written, row).records == [record]


def test_the_direction_of_two_languages_is_said_and_can_be_named(tmp_path: Path) -> None:
    loaded = load(tmp_path, Written, {"en": "Hi", "zh": "你好"})
    assert any("'en' is translated into 'zh'" in note.en for note in loaded.notes)
    back = load(tmp_path, Written, {"en": "Hi", "zh": "你好"}, columns={"source": "zh", "target": "en"})
    assert back.records == [Written(source="你好", targets=("Hi",))]


def test_what_is_asked_for_beside_stands_in_columns_of_its_own(tmp_path: Path) -> None:
    row = {"source": "hi", "target": "Good day", "tone": "formal"}
    loaded = load(tmp_path, Written, row, columns={"control.style": "tone"})
    assert loaded.records[0].control == {"style": "formal"}


def test_translations_of_unusual_length_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [{"src": "a" * 10, "tgt": "b" * length} for length in (5, 4, 6, 5, 50, 1)]
    loaded = load(tmp_path, Written, *rows, length_ratio=3)
    assert [len(record.targets[0]) for record in loaded.records] == [5, 4, 6, 5]
    assert any("2 rows" in note.en and "3 times" in note.en for note in loaded.notes)


def test_matches_come_as_lists_or_are_gathered_from_labelled_pairs(tmp_path: Path) -> None:
    lists = load(tmp_path, Matched, {"query": "q", "positive": ["a", "b"], "negatives": "c"})
    assert lists.records == [Matched(query="q", found=("a", "b"), hard_negatives=("c",))]
    pairs = [("q", "a", 1), ("q", "b", 0), ("r", "c", 0), ("q", "d", 1)]
    gathered = load(tmp_path, Matched, *({"qtext": q, "atext": a, "label": label} for q, a, label in pairs))
    assert gathered.records == [Matched(query="q", found=("a", "d"), hard_negatives=("b",))]
    assert any("finds nothing" in note.en for note in gathered.notes)


def collection(folder: Path, judged: str) -> Path:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(
        '{"_id": "1", "title": "T", "text": "one"}\n{"_id": 2, "text": ""}\n'
    )
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "which?"}\n{"_id": "r", "text": "who?"}\n')
    (folder / "qrels" / "test.tsv").write_text(judged)
    return folder


@pytest.mark.parametrize(
    "judged", ["query-id\tcorpus-id\tscore\nq\t1\t1\nq\t2\t0\nx\t1\t1\n", "q 0 1 1\nq 0 2 0\nx 0 1 1\n"]
)
def test_a_collection_is_read_with_the_queries_that_are_judged(tmp_path: Path, judged: str) -> None:
    read = load_retrieval(collection(tmp_path / "c", judged))
    assert read.corpus == {"1": "T\none", "2": ""}
    assert read.queries == {"q": "which?"}
    assert read.judgements == {"q": {"1": 1.0, "2": 0.0}}
    assert "1 of them empty" in read.notes[0].en


def test_judgements_of_another_collection_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="judges no query"):
        load_retrieval(collection(tmp_path / "c", "z\t9\t1\n"))
    with pytest.raises(DataError, match="one file of corpus"):
        load_retrieval(tmp_path)

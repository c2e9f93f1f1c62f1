"""The sides of the data: given, named by files, or divided by a hash; copies never stand on two."""

from pathlib import Path

import pytest

from hanlin.base.errors import DataError
from hanlin.base.records import Labelled, Question
from hanlin.corpus.config import SplitConfig
from hanlin.records.config import DataConfig
from hanlin.records.sides import load_sides, plain_inputs, side_in_name


def table(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    return path


def many(count: int) -> list[tuple[str, str]]:
    return [(f"text number {number}", str(number % 2)) for number in range(count)]


def test_what_is_not_given_is_taken_from_training_and_copies_stay_together(tmp_path: Path) -> None:
    rows = many(300)
    file = table(
        tmp_path / "a.tsv",
        [*rows, *((f"TEXT  number {number}", label) for number, (_, label) in enumerate(rows))],
    )
    sides = load_sides(Labelled, DataConfig(train=(file,)))
    assert sum(map(len, sides.values())) == 600
    assert 20 < len(sides["test"]) < 110
    keys = {side: {plain_inputs(record) for record in loaded.records} for side, loaded in sides.items()}
    assert not keys["train"] & keys["test"]
    assert not keys["train"] & keys["valid"]
    assert any("by a hash of the text" in note.en for note in sides["train"].notes)


def test_more_records_move_none_that_was_there(tmp_path: Path) -> None:
    few = load_sides(Labelled, DataConfig(train=(table(tmp_path / "a.tsv", many(100)),)))
    more = load_sides(Labelled, DataConfig(train=(table(tmp_path / "b.tsv", many(200)),)))
    for side in few:
        assert {record.text for record in few[side].records} <= {record.text for record in more[side].records}


def test_given_sides_stay_as_given_and_a_share_of_nought_is_an_empty_side(tmp_path: Path) -> None:
    train, test = table(tmp_path / "a.tsv", many(50)), table(tmp_path / "b.tsv", many(3))
    split = SplitConfig(valid=0, test=0)
    sides = load_sides(Labelled, DataConfig(train=(train,), test=(test,), split=split))
    assert {side: len(loaded) for side, loaded in sides.items()} == {"train": 50, "valid": 0, "test": 3}


def test_questions_about_one_context_stay_on_one_side(tmp_path: Path) -> None:
    rows = [f"q{n},context {n % 40},context" for n in range(400)]
    file = tmp_path / "a.csv"
    file.write_text("question,context,answer\n" + "\n".join(rows))
    sides = load_sides(Question, DataConfig(train=(file,)))
    contexts = [{record.context for record in loaded.records} for loaded in sides.values()]
    assert not contexts[0] & contexts[1]
    assert not contexts[0] & contexts[2]


def test_a_folder_is_divided_by_the_names_of_its_files(tmp_path: Path) -> None:
    table(tmp_path / "train.tsv", many(80))
    table(tmp_path / "my_dev.tsv", many(4))
    table(tmp_path / "test-1.tsv", many(5))
    table(tmp_path / "latest.tsv", many(6))
    sides = load_sides(Labelled, DataConfig(train=(tmp_path,)))
    assert {side: len(loaded) for side, loaded in sides.items()} == {"train": 80, "valid": 4, "test": 5}
    assert any("left out: latest.tsv" in note.en for note in sides["train"].notes)


@pytest.mark.parametrize(
    ("name", "side"),
    [("train_7k.txt", "train"), ("weiboNER_2nd_conll.dev", "valid"), ("val.de", "valid"), ("TEST.csv", "test"),
     ("情感训练集.csv", "train"), ("测试集.tsv", "test"), ("latest.tsv", None), ("trainer.csv", None)],
)  # fmt: skip
def test_names_of_files_say_their_side(name: str, side: str | None) -> None:
    assert side_in_name(name) == side


def test_a_side_that_would_be_empty_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_sides(Labelled, DataConfig(train=(table(tmp_path / "a.tsv", many(3)),)))
    assert "would be empty" in error.value.problem.en
    assert "split.test" in error.value.remedy.zh


def test_rare_and_unseen_classes_are_said(tmp_path: Path) -> None:
    train = table(tmp_path / "a.tsv", [*many(20), ("alone", "x")])
    test = table(tmp_path / "b.tsv", [("new", "y")])
    split = SplitConfig(valid=0, test=0)
    notes = [
        note.en
        for note in load_sides(Labelled, DataConfig(train=(train,), test=(test,), split=split))["train"].notes
    ]
    assert "1 classes have one training record: x." in notes
    assert "1 classes of the test side have no training record: y." in notes


def test_a_class_that_only_other_sides_would_have_is_learned(tmp_path: Path) -> None:
    rows = [*many(30), *((f"single {number}", f"class {number}") for number in range(30))]
    sides = load_sides(Labelled, DataConfig(train=(table(tmp_path / "a.tsv", rows),)))
    learned = {label for record in sides["train"].records for label in record.labels or ()}
    for side in ("valid", "test"):
        assert {label for record in sides[side].records for label in record.labels or ()} <= learned
    assert sum(map(len, sides.values())) == 60
    assert any("were left in it" in note.en for note in sides["train"].notes)


def test_rows_that_are_skipped_are_told_once(tmp_path: Path) -> None:
    file = table(tmp_path / "a.tsv", [*many(40), ("", "x")])
    sides = load_sides(Labelled, DataConfig(train=(file,), on_error="skip"))
    assert [len(sides[side].skipped) for side in ("train", "valid", "test")] == [1, 0, 0]


def test_drawn_records_are_the_same_again_and_keep_their_places(tmp_path: Path) -> None:
    file = table(tmp_path / "a.tsv", many(100))
    config = DataConfig(train=(file,), max_records=10, split=SplitConfig(valid=0, test=0))
    first, again = (load_sides(Labelled, config)["train"] for _ in range(2))
    assert first.records == again.records
    assert len(first) == 10
    lines = [int(place.rpartition(":")[2]) for place in first.places]
    assert lines == sorted(lines)
    assert all(
        record.text == f"text number {line - 2}" for line, record in zip(lines, first.records, strict=True)
    )

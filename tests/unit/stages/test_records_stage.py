"""`hanlin records`: what it says of files, what it writes, and what it refuses."""

import json
from pathlib import Path

import pytest

from hanlin.base.errors import DataError
from hanlin.base.records import Labelled
from hanlin.cli.records import records
from hanlin.records.config import DataConfig
from hanlin.records.load import load_records
from hanlin.stages.records import report_lines, report_values, run_records


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.tsv").write_text("text\tlabel\n好看\t1\n难看\t0\n好听\t1\n\t1\n")
    (data / "dev.tsv").write_text("text\tlabel\n好看\t0\n新的\t1\n")
    (data / "names.csv").write_text("number,zh_name\n0,负\n1,正\n")
    return data


def test_the_report_names_columns_classes_wrong_rows_leaks_and_files_that_are_not_such_records(
    folder: Path,
) -> None:
    report = run_records("classify", [folder], DataConfig(on_error="skip"))
    values = json.loads(json.dumps(report_values(report)))
    assert list(values["files"]) == ["train.tsv", "dev.tsv"]
    assert values["files"]["train.tsv"]["classes"] == {"1": 2, "0": 1}
    assert values["files"]["train.tsv"]["problems"][0]["place"].endswith("train.tsv:5")
    assert list(values["refused"]) == ["names.csv"]
    leaks = [(one["kind"], one["first"], one["second"], one["count"]) for one in values["overlaps"]]
    assert leaks == [("copies", "train.tsv", "dev.tsv", 1)]
    assert values["contradictions"]["count"] == 1
    lines = "\n".join(report_lines(report))
    for said in ("label = label", "train.tsv:5", "names.csv", "1 of 2 (50.0%) also stand in train.tsv"):
        assert said in lines


def test_records_are_written_under_the_name_of_each_file(folder: Path, tmp_path: Path) -> None:
    report = run_records("classify", [folder], DataConfig(on_error="skip"), output=tmp_path / "out.jsonl")
    assert [path.name for path in report.written] == ["out.train.tsv.jsonl", "out.dev.tsv.jsonl"]
    back = load_records(Labelled, [report.written[0]], DataConfig())
    assert back.records == report.files["train.tsv"].records


def test_annotation_goes_out_without_answers_and_comes_back_with_them(tmp_path: Path) -> None:
    source, table, output = tmp_path / "a.jsonl", tmp_path / "out.csv", tmp_path / "b.jsonl"
    source.write_text('{"text": "很好"}\n{"text": "不好"}\n')
    run_records("classify", [source], DataConfig(), annotate=table)
    filled = table.read_text("utf-8-sig").replace("很好,,", "很好,,正")
    table.write_text(filled, "utf-8-sig")
    run_records("classify", [source], DataConfig(), output=output, annotated=table)
    assert load_records(Labelled, [output], DataConfig()).records == [Labelled(text="很好", labels=("正",))]


def test_a_pair_needs_a_second_text_and_no_file_at_all_is_an_error(folder: Path) -> None:
    with pytest.raises(DataError, match="no second text"):
        run_records("pair", [folder / "dev.tsv"], DataConfig())


def test_the_verb_prints_lines_or_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records(folder / "dev.tsv", as_="classify", text="text", label="label")
    assert "dev.tsv: 2 records" in capsys.readouterr().out
    records(folder / "dev.tsv", as_="classify", json=True)
    assert json.loads(capsys.readouterr().out)["files"]["dev.tsv"]["records"] == 2

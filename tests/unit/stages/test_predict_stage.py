"""`hanlin predict`: columns that stay and are added, rows that cannot be predicted, and runs that are stopped."""

import csv
import io
import itertools
import json
import os
import signal

import pyarrow.parquet as pq
import pytest

from hanlin.base.errors import ConfigError, DataError, RequestError
from hanlin.base.interrupt import Interrupted
from hanlin.records import stream
from hanlin.stages import predict
from hanlin.stages.predict import run_predict, stream_predictions
from hanlin.stages.predict_output import write_rows
from hanlin.stages.predict_rows import Asked
from hanlin.stages.predict_summary import summary_lines
from hanlin.tasks.folder import load_task
from task_folders import CLASSES, TEXTS, make_base, make_task

ROWS = [
    {"id": number, "text": text, "note": "a, b"}
    for number, text in enumerate([*TEXTS, "film", "很好", "book"])
]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("predict-base"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, base):
    folder = tmp_path_factory.mktemp("predict") / "films"
    make_task(folder, base, **CLASSES)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return load_task(folder, "cpu")


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(predict, "CHUNK", 2)


def jsonl(path, rows=ROWS):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def read(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_rows_keep_their_columns_and_gain_what_is_predicted(tmp_path, model, folder):
    asked = Asked((jsonl(tmp_path / "in.jsonl"),), probabilities=True)
    tally = run_predict(model, str(folder), asked, tmp_path / "out.jsonl")
    rows = read(tmp_path / "out.jsonl")
    assert tally.rows == len(rows) == len(ROWS)
    for row, before, said in zip(rows, ROWS, model.classify([row["text"] for row in ROWS]), strict=True):
        assert list(row) == [
            *before, "predicted_label", "predicted_probability", "predicted_probability_bad", "predicted_probability_good",
        ]  # fmt: skip
        assert {key: row[key] for key in before} == before
        assert row["predicted_label"] == said.labels[0]
        assert row["predicted_probability_good"] == pytest.approx(said.probabilities["good"], abs=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_every_format_says_the_same(tmp_path, model, folder):
    rows = [{**row, "note": "a\tb\nc"} for row in ROWS]
    asked = Asked((jsonl(tmp_path / "in.jsonl", rows),))
    for ending in ("jsonl", "csv", "tsv", "parquet"):
        run_predict(model, str(folder), asked, tmp_path / f"out.{ending}")
    truth = read(tmp_path / "out.jsonl")
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == truth
    as_text = [{key: str(value) for key, value in row.items()} for row in truth]
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == as_text
    header, *lines = (tmp_path / "out.tsv").read_text("utf-8").splitlines()
    assert [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines] == [
        {**row, "note": "a b c"} for row in as_text
    ]
    with pytest.raises(RequestError, match="ending"):
        run_predict(model, str(folder), asked, tmp_path / "out.txt")


@pytest.mark.parametrize("form", ["csv", "tsv", "parquet", "txt"])
def test_every_format_is_read(tmp_path, model, folder, form):
    jsonl(tmp_path / "in.jsonl", [{"text": row["text"]} for row in ROWS])
    run_predict(model, str(folder), Asked((tmp_path / "in.jsonl",)), tmp_path / "one.jsonl")
    if form == "txt":
        (tmp_path / "in.txt").write_text("".join(f"{row['text']}\n" for row in ROWS), "utf-8")
    else:
        write_rows(tmp_path / f"in.{form}", [{"text": row["text"], "n": "1"} for row in ROWS], ["text", "n"])
    run_predict(model, str(folder), Asked((tmp_path / f"in.{form}",)), tmp_path / "two.jsonl")
    found = [{key: value for key, value in row.items() if key != "n"} for row in read(tmp_path / "two.jsonl")]
    assert found == read(tmp_path / "one.jsonl")


def test_a_run_that_was_stopped_gives_the_same_bytes(tmp_path, model, folder, small_chunks, monkeypatch):
    asked = Asked((jsonl(tmp_path / "in.jsonl"),), probabilities=True)
    run_predict(model, str(folder), asked, tmp_path / "whole.csv")
    passes, real = itertools.count(1), model.task.predict

    def stopping(opened, records, title=""):
        if next(passes) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return real(opened, records, title)

    object.__setattr__(model.task, "predict", stopping)
    try:
        with pytest.raises(Interrupted):
            run_predict(model, str(folder), asked, tmp_path / "stopped.csv")
        assert not (tmp_path / "stopped.csv").exists()
        journal = tmp_path / ".stopped.csv.unfinished" / "predictions.jsonl"
        assert len(journal.read_text("utf-8").splitlines()) == 1 + 4
        with open(journal, "a", encoding="utf-8") as file:
            file.write(
                '{"said": {"labels": ["bad"], "probability": 9}}\n{"said": {"la'
            )  # what a kill -9 leaves
        run_predict(model, str(folder), asked, tmp_path / "stopped.csv")
    finally:
        object.__delattr__(model.task, "predict")
    assert next(passes) == 2 + 2 + 1  # 7 rows: the first 4 were not predicted again
    assert (tmp_path / "stopped.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not journal.parent.exists()


def test_an_unfinished_run_of_other_rows_is_not_mixed_in(tmp_path, model, folder, small_chunks):
    good, bad = jsonl(tmp_path / "good.jsonl"), jsonl(tmp_path / "bad.jsonl", [*ROWS[:4], {"text": " "}])
    out = tmp_path / "out.jsonl"
    with pytest.raises(DataError, match=r"bad\.jsonl:5.*empty"):
        run_predict(model, str(folder), Asked((bad,)), out)
    with pytest.raises(ConfigError, match=r"files\..*good\.jsonl"):
        run_predict(model, str(folder), Asked((good,)), out)
    run_predict(model, str(folder), Asked((bad,), on_error="skip"), out)  # what the message advised goes on
    assert len(read(out)) == 4
    with pytest.raises(DataError):
        run_predict(model, str(folder), Asked((bad,)), out)
    run_predict(model, str(folder), Asked((good,)), out, fresh=True)
    assert len(read(out)) == len(ROWS)


BROKEN = (
    '{"text": "film", "id": 1}\n{"text": \n{"text": null, "id": 3}\n{"id": 4}\n{"text": "good", "id": 5}\n'
)


@pytest.mark.parametrize(("on_error", "ids"), [("skip", [1, 5]), ("null", [1, None, 3, 4, 5])])
def test_rows_that_cannot_be_predicted_are_counted_and_named(tmp_path, model, folder, on_error, ids):
    (tmp_path / "in.jsonl").write_text(BROKEN)
    asked = Asked((tmp_path / "in.jsonl",), on_error=on_error)
    tally = run_predict(model, str(folder), asked, tmp_path / "out.jsonl")
    rows = read(tmp_path / "out.jsonl")
    assert [row.get("id") for row in rows] == ids
    assert [row["id"] for row in rows if row["predicted_label"] is not None] == [1, 5]
    assert (tally.rows, tally.unpredicted) == (5, 3)
    places = [problem.place.rpartition("in.jsonl")[2] for problem in tally.problems]
    assert places == [":2", ":3", ":4"]
    said = "\n".join(summary_lines(model, tally))
    assert "3 could not be predicted" in said
    assert "in.jsonl:2: not valid JSON" in said


def test_a_row_that_the_model_refuses_does_not_take_others_with_it(tmp_path, base):
    values = {**CLASSES, "too_long": "refuse", "max_tokens": 8}
    make_task(tmp_path / "strict", base, **values)
    model = load_task(tmp_path / "strict", "cpu")
    rows = [{"text": "film"}, {"text": "good film " * 20}, {"text": "book"}]
    asked = Asked((jsonl(tmp_path / "in.jsonl", rows),), on_error="null")
    tally = run_predict(model, str(tmp_path / "strict"), asked, tmp_path / "out.jsonl")
    assert [row["predicted_label"] is None for row in read(tmp_path / "out.jsonl")] == [False, True, False]
    assert tally.problems[0].place.endswith("in.jsonl:2")
    assert "longer than 8 tokens" in tally.problems[0].reason.en


def test_what_was_cut_is_counted(tmp_path, model, folder):
    asked = Asked((jsonl(tmp_path / "in.jsonl", [{"text": "film"}, {"text": "good film " * 40}]),))
    tally = run_predict(model, str(folder), asked, tmp_path / "out.jsonl")
    assert tally.cut_rows == 1
    assert "1 were longer than 32 tokens and cut" in summary_lines(model, tally)[1]
    assert "predicted_cut" not in read(tmp_path / "out.jsonl")[0]


def test_known_answers_are_measured_and_strange_ones_named(tmp_path, model, folder):
    said = [one.labels[0] for one in model.classify(TEXTS)]
    wrong = {"good": "bad", "bad": "good"}
    labels = [said[0], said[1], said[2], wrong[said[3]]]
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, labels, strict=True)]
    rows += [{"text": "film", "label": "awful"}, {"text": "book", "label": None}]
    asked = Asked((jsonl(tmp_path / "in.jsonl", rows),))
    tally = run_predict(model, str(folder), asked, tmp_path / "out.jsonl")
    lines = "\n".join(summary_lines(model, tally))
    assert "accuracy 0.750" in lines
    assert "n = 4" in lines
    assert "1 rows have labels that the model did not learn (awful)" in lines
    assert [row["label"] for row in read(tmp_path / "out.jsonl")] == [*labels, "awful", None]


@pytest.mark.parametrize("as_json", [True, False])
def test_standard_input_is_jsonl_or_texts(model, as_json):
    lines = [json.dumps({"text": text, "n": 1}) if as_json else text for text in TEXTS]
    out = io.StringIO()
    tally = stream_predictions(model, Asked(), iter([f"{line}\n" for line in lines]), out)
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    assert tally.rows == len(TEXTS)
    assert [row["text"] for row in rows] == TEXTS
    assert [row["predicted_label"] for row in rows] == [one.labels[0] for one in model.classify(TEXTS)]
    assert all(("n" in row) == as_json for row in rows)


def test_rows_are_not_read_before_they_are_needed(model, small_chunks, monkeypatch):
    monkeypatch.setattr(stream, "HEAD", 10)
    out = io.StringIO()

    def endless():
        for number in itertools.count():
            if number == 40:
                raise KeyboardInterrupt
            yield f"film {number}\n"

    with pytest.raises(KeyboardInterrupt):
        stream_predictions(model, Asked(), endless(), out)
    assert [json.loads(line)["text"] for line in out.getvalue().splitlines()] == [
        f"film {n}" for n in range(40)
    ]


def test_columns_can_be_named_and_wrong_names_are_told(tmp_path, model, folder):
    rows = [{"a": "film", "b": "book"}, {"a": "good", "b": "bad"}]
    asked = Asked((jsonl(tmp_path / "in.jsonl", rows),), {"text": "a", "pair": "b"})
    run_predict(model, str(folder), asked, tmp_path / "out.jsonl")
    said = model.classify([("film", "book"), ("good", "bad")])
    assert [row["predicted_label"] for row in read(tmp_path / "out.jsonl")] == [one.labels[0] for one in said]
    with pytest.raises(DataError, match="no column 'aa'"):
        run_predict(model, str(folder), Asked(asked.files, {"text": "aa"}), tmp_path / "other.jsonl")
    run_predict(
        model, str(folder), asked, tmp_path / "other.jsonl"
    )  # nothing was begun: nothing is in the way


def test_rows_of_a_search_do_not_see_one_another(tmp_path, base):
    make_task(tmp_path / "search", base, kind="match")
    model = load_task(tmp_path / "search", "cpu")
    rows = [{"query": "film", "positive": "good film"}, {"query": "book", "positive": "bad book"}]
    asked = Asked((jsonl(tmp_path / "in.jsonl", rows),))
    run_predict(model, str(tmp_path / "search"), asked, tmp_path / "out.jsonl")
    found = read(tmp_path / "out.jsonl")
    assert [list(row) for row in found] == [["query", "positive", "predicted_scores"]] * 2
    assert found[1]["predicted_scores"] == pytest.approx([model.score(("book", "bad book"))], abs=1e-5)

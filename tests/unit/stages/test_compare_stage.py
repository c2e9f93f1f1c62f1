"""`hanlin compare` on examinations as they stand on disk."""

import json

import pytest

from hanlin.base.errors import CheckpointError, ConfigError, DataError
from hanlin.base.records import Labelled, Scored
from hanlin.cli.compare import compare
from hanlin.evaluate.task_results import read_task_results, write_task_results
from hanlin.records.loaded import Loaded
from hanlin.stages.compare import find_examination, run_compare
from hanlin.tasks.classify import Classified, Classify
from hanlin.tasks.examination import examination_of, prediction_lines
from hanlin.tasks.regress import Regress

TASK = Classify(labels=("bad", "good"))


def records_of(count, start=0):
    records = [
        Labelled(text=f"text {n}", labels=(("bad", "good")[n % 2],)) for n in range(start, start + count)
    ]
    return Loaded(records, [f"test.tsv:{n + 2}" for n in range(start, start + count)], [{} for _ in records])


def write(folder, known, wrong, task=TASK):
    """An examination of which the records of these numbers are wrong."""
    said = []
    for number, record in enumerate(known.records):
        (true,) = record.labels
        label = {"bad": "good", "good": "bad"}[true] if number in wrong else true
        p = {label: 0.9, ({"bad", "good"} - {label}).pop(): 0.1}
        said.append(Classified(labels=(label,), probability=0.9, probabilities=p))
    found = examination_of(task, known, said, folder.name, 1.0, resamples=100)
    write_task_results(folder, found, prediction_lines(task, known, said))
    return folder


@pytest.fixture
def pair(tmp_path):
    """A model with 30 of 100 wrong, and one that has 25 of these and 1 other wrong."""
    known = records_of(100)
    first = write(tmp_path / "first", known, set(range(30)))
    order = list(reversed(range(100)))  # the same records in another order
    second = write(tmp_path / "second", known.chosen(order), {99 - n for n in (*range(5, 30), 50)})
    return first, second


def test_the_difference_is_that_of_the_same_records(pair):
    found = run_compare(pair, resamples=400)
    assert (found.kind, found.n) == ("classify", 100)
    first, second = found.rivals
    assert (first.figures[0].value, second.figures[0].value) == (pytest.approx(0.70), pytest.approx(0.74))
    accuracy = second.differences[0]
    assert (accuracy.name, accuracy.value) == ("accuracy", pytest.approx(0.04))
    assert accuracy.low < 0.04 < accuracy.high < 0.15  # unpaired, it would reach further
    assert (second.fixed, second.broken, second.differing) == (5, 1, 6)
    assert {one.place for one in second.better} == {f"test.tsv:{n + 2}" for n in range(5)}
    assert [one.place for one in second.worse] == ["test.tsv:52"]
    assert (second.worse[0].first, second.worse[0].second, second.worse[0].answer) == ("bad", "good", "bad")


def test_a_model_against_itself_is_no_better_and_no_worse(pair):
    rival = run_compare([pair[0], pair[0]], resamples=100).others[0]
    assert all(one.value == 0 and one.p == 1 for one in rival.differences)
    assert (rival.differing, rival.better, rival.worse) == (0, (), ())


def test_several_stand_against_the_first(pair, tmp_path):
    third = write(tmp_path / "third", records_of(100), set(range(90)))
    found = run_compare([*pair, third], resamples=100)
    assert [rival.differences[0].value for rival in found.others] == [
        pytest.approx(0.04),
        pytest.approx(-0.6),
    ]


def test_other_records_are_refused_with_how_many_and_which(pair, tmp_path):
    other = write(tmp_path / "other", records_of(98, start=3), set())
    with pytest.raises(DataError) as caught:
        run_compare([pair[0], other])
    problem = caught.value.problem.en
    assert "97 are common" in problem
    assert f"3 only of {pair[0]}: test.tsv:2, test.tsv:3, test.tsv:4" in problem
    assert f"1 only of {other}: test.tsv:102" in problem
    again = write(tmp_path / "again", records_of(100).chosen([*range(100), 7]), set())
    with pytest.raises(DataError, match=r"100 are common; 1 only of .*again: test\.tsv:9"):
        run_compare([pair[0], again])


def test_another_task_is_refused(pair, tmp_path):
    known = Loaded([Scored(text="a", score=1.0), Scored(text="b", score=2.0)], ["t:1", "t:2"], [{}, {}])
    task = Regress()
    said = [task.prediction(score=score) for score in (1.0, 3.0)]
    write_task_results(
        tmp_path / "numbers", examination_of(task, known, said, "m", 1.0, resamples=100), prediction_lines(task, known, said)
    )  # fmt: skip
    with pytest.raises(DataError, match="do not do the same task"):
        run_compare([pair[0], tmp_path / "numbers"])


def test_wrong_input_is_told(pair, tmp_path):
    with pytest.raises(ConfigError, match="two models or more"):
        run_compare(pair[:1])
    with pytest.raises(CheckpointError, match="has no examination"):
        run_compare([pair[0], tmp_path / "nowhere"])
    found, lines = read_task_results(pair[1])
    write_task_results(pair[1], found.model_copy(update={"task": {"kind": "classify", "never": 1}}), lines)
    with pytest.raises(CheckpointError, match="never"):
        run_compare(pair)


def test_an_examination_is_found_from_whatever_is_named(tmp_path):
    folder = write(tmp_path / "run" / "examination", records_of(4), set())
    (tmp_path / "run" / "model").mkdir()
    for name in ("run", "run/model", "run/examination", "run/examination/predictions.jsonl"):
        assert find_examination(tmp_path / name) == folder


def test_the_verb_prints_and_writes_a_page(pair, tmp_path, capsys):
    compare(*pair, page=tmp_path / "page.html", resamples=100)
    said = capsys.readouterr().out
    assert "0.740" in said
    assert "They differ on 6 records" in said or "6 条记录" in said
    assert "test.tsv:52" in (tmp_path / "page.html").read_text("utf-8")
    compare(*pair, resamples=100, json=True)
    assert json.loads(capsys.readouterr().out)["rivals"][1]["fixed"] == 5

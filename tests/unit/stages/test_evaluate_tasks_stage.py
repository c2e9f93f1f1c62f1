"""`hanlin evaluate MODEL --tasks ...` on tiny models: task files, collections, studies of prompts, and wrong input."""

import json

import pytest
import torch
import yaml

from hanlin.base.errors import CheckpointError, ConfigError
from hanlin.base.records import Labelled
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import save_model
from hanlin.cli.main import app
from hanlin.evaluate.task_results import read_task_results
from hanlin.model.assemble import build_model
from hanlin.model.config import CoreConfig
from hanlin.records.loaded import Loaded
from hanlin.stages.task_recipe import drawn, is_task_recipe
from hanlin.tasks.classify import Classify
from hanlin.tasks.shots import with_shots
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer
from tiny import scatter

FILMS = [
    (f"{word} film {number}", label)
    for number in range(8)
    for word, label in (("good", "yes"), ("bad", "no"))
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A decoder, and a headless encoder, with one tokenizer."""
    place = tmp_path_factory.mktemp("models")
    lines = [" ".join(text for text, _ in FILMS), "yes no it was", "翰林院"]
    save_trained(train_bpe(lines * 9, TokenizerConfig(vocab_size=300, on_small="shrink")), place / "bpe")
    tokenizer = Tokenizer.load(place / "bpe")
    torch.manual_seed(0)
    shape = {"vocab_size": tokenizer.vocab_size, "width": 16, "layers": 1, "heads": 2, "window": 128}
    for name, more in (("decoder", {}), ("encoder", {"style": "bert", "head": "none"})):
        model = scatter(build_model(CoreConfig.model_validate({**shape, **more})))
        save_model(place / name, model, tokenizer, GenerationDefaults(), {}, {})
    return place


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"text": text, "label": label} for text, label in FILMS]
    for name, part in (("train", rows[:8]), ("test", rows[8:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    write_task("films", {"kind": "classify", "method": "zero-shot", "template": "{text} {word}"})
    return tmp_path


def write_task(name, task, **more):
    values = {"task": task, "data": {"train": ["train.jsonl"], "test": ["test.jsonl"]}, **more}
    with open(f"{name}.yaml", "w", encoding="utf-8") as file:
        yaml.safe_dump(values, file)


def test_a_task_file(models, place, capsys):
    app(["evaluate", str(models / "decoder"), "--tasks", "films.yaml", "--limit", "5", "--json"])
    said = json.loads(capsys.readouterr().out)["films"]
    found, lines = read_task_results(place / "evaluations" / "decoder" / "films")
    assert said["figures"] == found.model_dump(mode="json")["figures"]
    assert found.n == len(lines) == 5
    right = [line.record["labels"] == line.prediction["labels"] for line in lines]
    assert found.main.value == pytest.approx(sum(right) / 5)
    assert found.main.low <= found.main.value <= found.main.high
    assert set(found.files) == {"train.jsonl", "test.jsonl"}
    page = (place / "evaluations" / "decoder" / "films" / "report.html").read_text()
    assert "decoder" in page


def test_a_collection_is_searched(models, place, capsys):
    collection = place / "collection"
    (collection / "qrels").mkdir(parents=True)
    documents = [{"_id": f"d{number}", "text": text} for number, (text, _) in enumerate(FILMS)]
    (collection / "corpus.jsonl").write_text("".join(json.dumps(one) + "\n" for one in documents))
    queries = [{"_id": "q1", "text": "good 3"}, {"_id": "q2", "text": "bad 5"}, {"_id": "q3", "text": "film"}]
    (collection / "queries.jsonl").write_text("".join(json.dumps(one) + "\n" for one in queries))
    (collection / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td6\t1\nq2\td11\t1\n")
    write_task("match", {"kind": "match", "method": "zero-shot"}, data={"test": ["collection"]})
    app(["evaluate", str(models / "encoder"), "--tasks", "match.yaml", "--folder", "out", "--json"])
    one = json.loads(capsys.readouterr().out)["match"]
    assert one["n"] == 2
    (words,) = one["baselines"]
    assert (words["name"], words["figures"][0]["name"], words["figures"][0]["value"]) == (
        "BM25",
        "ndcg@10",
        1.0,
    )
    assert 0 <= one["figures"][0]["value"] <= 1
    assert len(one["worst"]) == one["wrong"]
    assert (place / "out" / "match" / "report.html").is_file()


def test_a_study_of_prompts(models, place, capsys):
    write_task(
        "study",
        {"kind": "classify", "method": "zero-shot", "template": "{text} {word}"},
        templates=["{text} it was {word}"],
    )
    app(
        [
            "evaluate",
            str(models / "decoder"),
            "--tasks",
            "study.yaml",
            "--shots",
            "0,2,4",
            "--seeds",
            "2",
            "--orders",
            "3",
            "--json",
        ]
    )
    study = json.loads(capsys.readouterr().out)["study"]
    assert [(one["of"], one["shots"], one["seed"], one["order"]) for one in study["tried"]] == [
        ("shots", 0, 0, 0),
        *(("shots", shots, seed, 0) for shots in (2, 4) for seed in (0, 1)),
        *(("order", 4, 0, order) for order in (0, 1, 2)),
        ("template", 0, 0, 0),
        ("template", 0, 0, 0),
    ]
    values = [one["figure"]["value"] for one in study["tried"]]
    assert values[5] == values[3]  # the first order is that of the first draw
    assert values[8] == values[0]  # the first template is the task's own
    assert study["tried"][9]["template"] == "{text} it was {word}"
    page = (place / "evaluations" / "decoder" / "study" / "prompts.html").read_text()
    assert "<svg" in page
    assert "{text} it was {word}" in page
    app(["evaluate", str(models / "decoder"), "--tasks", "study.yaml", "--shots", "0,2"])
    assert "2 shots:" in capsys.readouterr().err


def test_other_draws_and_orders_are_other_prompts():
    records = [Labelled(text=text, labels=(label,)) for text, label in FILMS]
    train = Loaded(records, [""] * len(records), [{}] * len(records))
    task = Classify(method="zero-shot", template="{text} {word}")
    two, again, other = (with_shots(task, train, 4, seed) for seed in (0, 0, 1))
    assert len(two.shown) == 4
    assert two.shown == again.shown != other.shown
    assert with_shots(task, train, 0, 0).shown == ()


def test_what_is_drawn_is_always_the_same():
    assert drawn(5, None) == drawn(5, 9) == [0, 1, 2, 3, 4]
    assert drawn(100, 7) == drawn(100, 7) == sorted(set(drawn(100, 7)))


def test_whose_task_file_it_is(place):
    (place / "theirs.yaml").write_text("task: arc_local\ndataset_path: json\n")
    assert is_task_recipe(place / "films.yaml")
    assert not is_task_recipe(place / "theirs.yaml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tasks", "missing.yaml"], "no task file missing.yaml"),
        (["--tasks", "films.yaml", "--shots", "many"], "--shots many"),
        (["model.layers=2", "--tasks", "films.yaml"], "belongs to no recipe"),
        (["--tasks", "trained.yaml"], "has not learned the task classify by the method full"),
        (["--tasks", "match.yaml", "--shots", "0,1"], "shows no records"),
    ],
)
def test_wrong_input(models, place, arguments, words):
    write_task("trained", {"kind": "classify"})
    (place / "pairs.jsonl").write_text('{"query": "a", "positive": "b"}\n{"query": "c", "positive": "d"}\n')
    write_task("match", {"kind": "match", "method": "zero-shot"}, data={"test": ["pairs.jsonl"]})
    with pytest.raises(ConfigError, match=words):
        app(["evaluate", str(models / ("encoder" if "match.yaml" in arguments else "decoder")), *arguments])


def test_files_for_what_does_no_task(models, place):
    with pytest.raises(CheckpointError):
        app(["evaluate", str(models / "decoder"), "--data", "test.jsonl"])

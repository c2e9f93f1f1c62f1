"""A task examined on a tiny model: figures, what is left out, robustness, other files, and what was forgotten."""

import numpy as np
import pytest
import torch

from finetuning import learn, tiny
from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.base.records import Labelled, Matched
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.evaluate.card import USES
from hanlin.evaluate.perturb import PERTURBATIONS, Perturbation
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.adapters.config import LoraConfig
from hanlin.model.rehead import with_head
from hanlin.records.loaded import Loaded
from hanlin.tasks import model
from hanlin.tasks.classify import Classify
from hanlin.tasks.examination import elsewhere, examine_task, has_answer, prediction_lines, with_answers
from hanlin.tasks.folder import TaskFile
from hanlin.tasks.forgetting import examine_forgetting
from hanlin.tasks.opened import ADAPTER, Opened
from hanlin.tasks.robustness import examine_robustness
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.wordpiece import train_wordpiece
from tiny import CPU

LINES = [
    "a good film and a bad film",
    "this book was good but that one was bad",
    "这部电影很好看",
    "这本书很差",
] * 8
GOOD = ["a good film", "good book", "很好看", "this was good"]
BAD = ["a bad film", "bad book", "很差", "this was bad"]
TEXTS = {Text("a", "甲"): ("a good film", "a bad book was bad"), Text("b", "乙"): ("很好看",)}
FAST = {"resamples": 100}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examined-bert")
    settings = TokenizerConfig(model="wordpiece", vocab_size=260, on_small="shrink")
    save_tokenizer(train_wordpiece(LINES, settings), "wordpiece", folder)
    return Tokenizer.load(folder)


def loaded(records, name="test.tsv"):
    return Loaded(list(records), [f"{name}:{n}" for n in range(1, len(records) + 1)], [{} for _ in records])


KNOWN = loaded(
    [
        Labelled(text=text, labels=(label,))
        for label, texts in (("good", GOOD), ("bad", BAD))
        for text in texts
    ]
)


@pytest.fixture(scope="module")
def learned(tokenizer):
    task = Classify().begun(KNOWN.records)
    torch.manual_seed(0)
    body = tiny("bert", far=False, vocab_size=tokenizer.vocab_size, window=32)
    opened = Opened("tiny", with_head(body, **task.head())[0], tokenizer, CPU, GenerationDefaults())
    learn(
        opened.model,
        task.objective(KNOWN.records),
        task.examples(opened, KNOWN.records),
        60,
        rows=8,
        rate=1e-2,
    )
    return task, opened


def test_figures_confusion_and_worst_are_of_records_with_answers(learned):
    task, opened = learned
    wrong = Labelled(text="good book", labels=("bad",))
    records = loaded([*KNOWN.records, Labelled(text="a film"), wrong])
    found, said = examine_task(task, opened, records, fingerprint="f", files={"test.tsv": "1"}, **FAST)
    assert (found.n, found.unanswered, len(said)) == (9, 1, 9)
    assert (found.kind, found.method, found.fingerprint, found.files) == (
        "classify",
        "full",
        "f",
        {"test.tsv": "1"},
    )
    assert found.main.value == pytest.approx(8 / 9)
    assert found.confusion.labels == ("bad", "good")
    assert found.confusion.counts == ((4, 1), (0, 4))
    by_class = {one.label: (one.precision.value, one.recall.value) for one in found.classes}
    assert by_class == {"bad": (1.0, 4 / 5), "good": (4 / 5, 1.0)}
    assert found.classes[0].label == "bad"  # the commoner
    assert (found.wrong, len(found.worst)) == (1, 1)
    assert (found.worst[0].place, found.worst[0].said, found.worst[0].answer) == (
        "test.tsv:10",
        "good",
        "bad",
    )
    assert found.scripts == {"spaced": 7, "han": 2}
    assert (found.lengths[0], found.lengths[-1]) == (2, 13)
    assert sum(one.n for one in found.reliability) == 9
    lines = prediction_lines(task, with_answers(records), said)
    assert [Labelled.model_validate(line.record) for line in lines] == with_answers(records).records
    assert [task.prediction.model_validate(line.prediction) for line in lines] == said
    assert Classify.model_validate(found.task) == task


def test_inputs_that_were_cut_are_counted(learned):
    task, opened = learned
    long = Labelled(text="a good film " * 40, labels=("good",))
    assert examine_task(task, opened, loaded([long, *KNOWN.records]), **FAST)[0].cut == 1


def test_without_any_answer_there_is_nothing_to_examine(learned):
    task, opened = learned
    with pytest.raises(DataError, match="no record with a known answer"):
        examine_task(task, opened, loaded([Labelled(text="a film")]))
    assert [has_answer(Matched(query="a", found=found)) for found in ((), ("b",))] == [False, True]


def test_robustness_is_of_the_records_that_a_change_touches(learned):
    task, opened = learned
    known = with_answers(KNOWN)
    said = task.predict(opened, known.records)
    to_bad = Perturbation("bad", Text("to bad", "变坏"), lambda text, _: text.replace("good", "bad"))
    nothing = Perturbation("nothing", Text("nothing", "无"), lambda text, _: text)
    rows, told = examine_robustness(task, opened, known, said, perturbations=(to_bad, nothing), **FAST)
    (row,) = rows
    assert not told
    assert (row.clean.n, row.clean.value, row.perturbed.value, row.flipped) == (3, 1.0, 0.0, 1.0)
    assert row.difference.value == -1
    everything, _ = examine_robustness(task, opened, known, said, **FAST)
    names = [one.name for one in everything]
    assert names == [how.name for how in PERTURBATIONS if how.name in names]
    assert {"upper case", "distractor", "framing"} <= set(names)
    assert next(one for one in everything if one.name == "upper case").clean.n == 6  # the others are Chinese
    again, _ = examine_robustness(task, opened, known, said, **FAST)
    assert again == everything


def test_records_from_elsewhere_stand_beside_those_at_home(learned):
    task, opened = learned
    home = task.measures(KNOWN.records, task.predict(opened, KNOWN.records))[0]
    swapped = [Labelled(text=one.text, labels=("bad",)) for one in KNOWN.records]
    there = elsewhere(task, opened, loaded(swapped), home, {"other.tsv": "2"}, **FAST)
    assert (there.n, there.figures[0].value, there.difference) == (8, 0.5, -0.5)
    assert there.low < -0.5 < there.high < 0


def plain_model(tokenizer, style, seed=0, **settings):
    model = tiny(style, seed, vocab_size=tokenizer.vocab_size, window=32, **settings)
    return Opened("tiny", model, tokenizer, CPU, GenerationDefaults())


@pytest.mark.parametrize(("style", "masked"), [("llama", False), ("bert", True)])
def test_forgetting_is_the_difference_in_bits_per_byte(tokenizer, style, masked):
    settings = {"head": "masked"} if masked else {}
    parent, child = plain_model(tokenizer, style, **settings), plain_model(tokenizer, style, 1, **settings)
    same, _ = examine_forgetting(parent, plain_model(tokenizer, style, **settings), TEXTS, **FAST)
    assert [one.before for one in same] == [one.after for one in same]
    rows, told = examine_forgetting(parent, child, TEXTS, **FAST)
    back, _ = examine_forgetting(child, parent, TEXTS, **FAST)
    assert not told
    assert [(one.documents, one.bytes, one.masked) for one in rows] == [(2, 29, masked), (1, 9, masked)]
    for one, other in zip(rows, back, strict=True):
        assert one.before != one.after
        assert (one.before, one.after) == (pytest.approx(other.after), pytest.approx(other.before))
    assert (rows[0].low is None, rows[1].low is None) == (False, True)


def test_bits_per_byte_of_a_model_that_knows_nothing(tokenizer):
    opened = plain_model(tokenizer, "llama")
    with torch.no_grad():
        opened.model.head.weight.zero_()
    text = "a good film"
    (row,), _ = examine_forgetting(opened, opened, {Text("a", "甲"): (text,)}, **FAST)
    tokens = len(tokenizer.encode(text)) + 1
    assert row.before == pytest.approx(tokens * np.log2(opened.model.config.vocab_size) / len(text), rel=1e-5)


def test_under_another_head_the_parents_head_reads_the_body(tokenizer):
    parent = plain_model(tokenizer, "llama")
    body = plain_model(tokenizer, "llama").model
    torch.manual_seed(0)
    child = Opened(
        "child",
        with_head(body, head="classify", label_names=("a", "b"))[0],
        tokenizer,
        CPU,
        GenerationDefaults(),
    )
    kept, _ = examine_forgetting(parent, child, TEXTS, **FAST)
    assert all(one.before == pytest.approx(one.after) for one in kept)
    adapters = Adapters(child.model)
    adapters.add(ADAPTER, LoraConfig())
    adapters.active = ADAPTER
    with torch.no_grad():
        for parameter in child.model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))
    child.model.eval()
    moved, _ = examine_forgetting(parent, child, TEXTS, **FAST)
    assert all(one.before != pytest.approx(one.after, abs=1e-3) for one in moved)


def test_a_parent_without_a_head_over_the_vocabulary_says_so(tokenizer, learned):
    rows, told = examine_forgetting(learned[1], learned[1], TEXTS)
    assert not rows
    assert "no probability" in told[0].en


def test_every_kind_of_task_has_its_use_in_the_card():
    kinds = {
        kind
        for one in TaskFile.model_fields["task"].annotation.__args__
        for kind in one.model_fields["kind"].annotation.__args__
    }
    assert set(USES) == kinds
    for kind in USES.keys() & model.USES.keys():
        assert USES[kind][1].split("(")[0] in model.USES[kind].verbs

"""Folders of tasks: what was saved opens again and says the same; what cannot be opened says why."""

import json
import shutil

import pytest
import torch
import transformers

import hanlin
from hanlin.base.errors import CheckpointError, NewerFormatError, RequestError
from hanlin.base.manifest import read_manifest
from hanlin.checkpoint.adapters.write import base_fingerprint
from hanlin.checkpoint.folder import open_model
from hanlin.tasks.folder import load_task
from hanlin.tasks.model import USES, words_of
from task_folders import CLASSES, TEXTS, make_base, make_task
from tiny import CPU

SPANS = ({"start": 0, "stop": 1, "kind": "A"}, {"start": 2, "stop": 6, "kind": "B"})
QUESTIONS = {
    "classify": (CLASSES, {"text": TEXTS[0]}),
    "several": ({**CLASSES, "multi_label": True}, {"text": TEXTS[0], "pair": TEXTS[1]}),
    "regress": ({"kind": "regress"}, {"text": TEXTS[2], "pair": TEXTS[3]}),
    "tag": ({"kind": "tag", "labels": ("O", "B-X", "I-X")}, {"words": TEXTS[0].split()}),
    "crf": ({"kind": "tag", "labels": ("O", "B-X", "I-X"), "crf": True}, {"words": TEXTS[0].split()}),
    "extract": ({"kind": "extract", "kinds": ("X",)}, {"text": TEXTS[0]}),
    "answer": ({"kind": "answer"}, {"question": "good film", "context": TEXTS[0]}),
    "relate": (
        {"kind": "relate", "labels": ("-", "r(1,2)"), "pairs": (("A", "B"),)},
        {"text": TEXTS[0], "spans": SPANS},
    ),
    "match": ({"kind": "match"}, {"query": TEXTS[0], "found": TEXTS[1:]}),
    "rerank": ({"kind": "rerank"}, {"query": TEXTS[0], "found": TEXTS[1:]}),
}


def floats(value):
    """All numbers of a prediction, in order."""
    if isinstance(value, dict):
        return [number for one in value.values() for number in floats(one)]
    if isinstance(value, list | tuple):
        return [number for one in value for number in floats(one)]
    return [value] if isinstance(value, float) else []


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("task-base"))


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("name", QUESTIONS)
def test_what_was_saved_says_the_same(tmp_path, base, name, method):
    values, question = QUESTIONS[name]
    before = make_task(tmp_path / "it", base, **{**values, "method": method})
    after = load_task(tmp_path / "it", "cpu")
    assert after.task == before.task
    assert (after.opened.adapters is not None) == (method == "lora")
    (said,), (again,) = before.predict([question]), after.predict([question])
    torch.testing.assert_close(
        torch.tensor(floats(said.model_dump())), torch.tensor(floats(again.model_dump())), atol=1e-6, rtol=0
    )
    assert floats(said.model_dump()) or name in ("extract", "relate")


def test_an_adapter_does_not_open_on_another_base(tmp_path, base):
    make_task(tmp_path / "it", base, **CLASSES, method="lora")
    other = make_base(tmp_path / "second", seed=5)
    with pytest.raises(CheckpointError, match="another base"):
        load_task(tmp_path / "it", "cpu", base=str(other))


def test_a_lora_folder_holds_the_new_head_and_not_the_base(tmp_path, base):
    make_task(tmp_path / "full", base, **CLASSES)
    make_task(tmp_path / "lora", base, **CLASSES, method="lora")
    assert not (tmp_path / "lora" / "model.safetensors").exists()
    adapter = tmp_path / "lora" / "adapter_model.safetensors"
    assert adapter.stat().st_size < (tmp_path / "full" / "model.safetensors").stat().st_size / 2
    model = open_model(base, CPU)[0]
    manifest = read_manifest(tmp_path / "lora", "adapter")
    assert manifest.inputs == {"train": "0" * 16, "base": base_fingerprint(model)}
    assert manifest.report == {"steps": 1}
    assert "task.json" in manifest.files


def test_what_nothing_was_trained_for_is_its_settings_alone(tmp_path, base):
    before = make_task(tmp_path / "it", base, kind="match", method="zero-shot")
    assert sorted(path.name for path in (tmp_path / "it").iterdir()) == ["hanlin.json", "task.json"]
    after = load_task(tmp_path / "it", "cpu")
    assert (after.embed(TEXTS) == before.embed(TEXTS)).all()


def test_the_folder_of_a_run_is_its_model(tmp_path, base):
    make_task(tmp_path / "films" / "model", base, **CLASSES)
    opened = load_task(tmp_path / "films", "cpu")
    assert opened.name == "films"
    assert opened.classify(TEXTS[0]).labels[0] in ("bad", "good")
    assert hanlin.load_task is load_task
    shutil.copytree(tmp_path / "films" / "model", tmp_path / "two" / "models" / "a")
    with pytest.raises(CheckpointError, match="several tasks: a"):
        load_task(tmp_path / "two", "cpu")


def test_an_adapter_says_that_its_base_is_gone_and_takes_another_place(tmp_path, base):
    shutil.copytree(base, tmp_path / "old")
    make_task(tmp_path / "it", tmp_path / "old", **CLASSES, method="lora")
    (tmp_path / "old").rename(tmp_path / "new")
    with pytest.raises(CheckpointError, match="needs its base"):
        load_task(tmp_path / "it", "cpu")
    assert load_task(tmp_path / "it", "cpu", base=str(tmp_path / "new")).classify("a film")


def test_damage_and_newer_formats_are_named(tmp_path, base):
    make_task(tmp_path / "it", base, **CLASSES)
    path = tmp_path / "it" / "task.json"
    whole = path.read_text("utf-8")
    path.write_text(json.dumps({**json.loads(whole), "format": 99}))
    with pytest.raises(NewerFormatError, match="format 99"):
        load_task(tmp_path / "it", "cpu")
    path.write_text(whole[:-20])
    with pytest.raises(CheckpointError, match=r"task\.json is damaged"):
        load_task(tmp_path / "it", "cpu")
    path.write_text(whole.replace('"bad"', '"worse"'))
    with pytest.raises(CheckpointError, match="checksum differs"):
        load_task(tmp_path / "it", "cpu")
    path.write_text(whole.replace('"classify"', '"clasify"'))
    with pytest.raises(CheckpointError, match=r"task\.json is damaged.*clasify"):
        load_task(tmp_path / "it", "cpu")


def test_a_model_without_a_task_is_refused(tmp_path, base):
    with pytest.raises(CheckpointError, match=r"head none and has no task\.json"):
        load_task(base, "cpu")
    with pytest.raises(CheckpointError, match="There is no model"):
        load_task(tmp_path / "nowhere", "cpu")


def theirs(folder, base, kind, **settings):
    """A model of the ecosystem with a head, beside our tokenizer."""
    config = transformers.BertConfig(
        vocab_size=open_model(base, CPU)[1].vocab_size, hidden_size=16, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=32, **settings,
    )  # fmt: skip
    torch.manual_seed(0)
    model = kind(config).eval()
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(base / name, folder)
    return model


def test_a_foreign_classifier_does_what_its_head_says(tmp_path, base, capsys):
    names = {0: "neg", 1: "pos", 2: "other"}
    model = theirs(tmp_path / "it", base, transformers.BertForSequenceClassification, id2label=names)
    opened = load_task(tmp_path / "it", "cpu")
    assert opened.kind == "classify"
    assert "classify" in capsys.readouterr().err
    said = opened.classify(TEXTS[2])
    ids = torch.tensor([opened.opened.tokenizer.encode_single(TEXTS[2]).ids])
    truth = model(ids).logits[0].softmax(0).tolist()
    assert said.probabilities == pytest.approx(dict(zip(names.values(), truth, strict=True)), abs=1e-5)


@pytest.mark.parametrize(
    ("model", "settings", "kind"),
    [
        (transformers.BertForSequenceClassification, {"num_labels": 1}, "regress"),
        (transformers.BertForTokenClassification, {"id2label": {0: "O", 1: "B-X", 2: "I-X"}}, "tag"),
        (transformers.BertForQuestionAnswering, {}, "answer"),
    ],
)
def test_other_foreign_heads_have_their_tasks(tmp_path, base, model, settings, kind):
    theirs(tmp_path / "it", base, model, **settings)
    opened = load_task(tmp_path / "it", "cpu")
    assert opened.kind == kind
    question = next(one for values, one in QUESTIONS.values() if values["kind"] == kind)
    assert len(opened.predict([question, question])) == 2


def test_verbs_take_one_or_many_and_refuse_what_does_not_fit(tmp_path, base):
    model = make_task(tmp_path / "films", base, **CLASSES)
    one, (first, second) = model.classify(TEXTS[0]), model.classify([TEXTS[0], ("a film", "这本书")])
    assert first.labels == one.labels
    assert first.probability == pytest.approx(one.probability, abs=1e-6)
    assert first.probability != second.probability
    with pytest.raises(RequestError, match=r"films does not tag: its task is classify"):
        model.tag("a b")
    with pytest.raises(RequestError, match="Input 2 has an empty text"):
        model.classify(["a", " "])
    with pytest.raises(RequestError, match="Input 1 is malformed: text: Field required"):
        model.predict([{"txt": "a"}])
    assert model.predict([]) == []
    assert all(hasattr(model, verb) for use in USES.values() for verb in use.verbs)


def test_texts_are_ranked_whatever_their_order(tmp_path, base):
    model = make_task(tmp_path / "search", base, kind="match")
    ranked = model.rank(TEXTS[0], TEXTS[1:])
    assert [one.score for one in ranked] == sorted((one.score for one in ranked), reverse=True)
    assert {one.text: one.number for one in ranked} == {text: n for n, text in enumerate(TEXTS[1:])}
    turned = model.rank(TEXTS[0], TEXTS[:0:-1])
    assert [one.text for one in turned] == [one.text for one in ranked]
    best = ranked[0]
    assert model.score((TEXTS[0], best.text)) == pytest.approx(best.score, abs=1e-6)
    vectors_NC = model.embed([TEXTS[0], best.text])
    assert float(vectors_NC[0] @ vectors_NC[1]) == pytest.approx(best.score, abs=1e-6)
    assert vectors_NC[0] == pytest.approx(model.embed(TEXTS[0]), abs=1e-6)


def test_a_question_needs_its_context(tmp_path, base):
    model = make_task(tmp_path / "reader", base, kind="answer")
    with pytest.raises(RequestError, match="Input 1 has no context"):
        model.answer("who?")
    said = model.answer("good film", TEXTS[0])
    assert (
        said.text == TEXTS[0][said.start :][: len(said.text)] if said.start is not None else said.text == ""
    )


def test_a_text_is_cut_into_words_and_chinese_characters():
    assert words_of("I read 红楼梦。 twice, OK") == ("I", "read", "红", "楼", "梦", "。", "twice,", "OK")

"""Classes by a head: what is learned and said, what is refused and how it is named, long texts, temperature, other people's heads."""

import numpy as np
import pytest
import torch
import transformers
from pydantic import ValidationError

from finetuning import learn, tiny
from hanlin.base.errors import DataError
from hanlin.base.records import Labelled
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import open_model
from hanlin.model.rehead import with_head
from hanlin.tasks.classify import Classify
from hanlin.tasks.opened import Opened
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.wordpiece import train_wordpiece
from tiny import CPU, scatter

LINES = [
    "a good film and a bad film",
    "this book was good but that one was bad",
    "这部电影很好看",
    "这本书很差",
] * 8
GOOD = [
    Labelled(text=text, labels=("good",)) for text in ("a good film", "good book", "很好看", "this was good")
]
BAD = [Labelled(text=text, labels=("bad",)) for text in ("a bad film", "bad book", "很差", "this was bad")]
RECORDS = GOOD + BAD
PLACES = [f"train.tsv:{line}" for line in range(2, 10)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classify-bert")
    settings = TokenizerConfig(model="wordpiece", vocab_size=260, on_small="shrink")
    save_tokenizer(train_wordpiece(LINES, settings), "wordpiece", folder)
    return Tokenizer.load(folder)


def opened_for(task, tokenizer, style="bert", **settings):
    torch.manual_seed(0)
    body = tiny(style, far=False, vocab_size=tokenizer.vocab_size, window=32, **settings)
    return Opened("tiny", with_head(body, **task.head())[0], tokenizer, CPU, GenerationDefaults())


def learned(task, tokenizer, records=RECORDS, steps=40, **settings):
    task = task.begun(records, PLACES)
    opened = opened_for(task, tokenizer, **settings)
    learn(opened.model, task.objective(records), task.examples(opened, records), steps, rows=8, rate=1e-2)
    return task, opened


def values(task, records, said):
    return {measure.name: measure.value for measure in task.measures(records, said)}


@pytest.mark.parametrize("style", ["bert", "llama"])
def test_an_encoder_and_a_decoder_learn_classes(tokenizer, style):
    task, opened = learned(Classify(balanced=True, label_smoothing=0.01), tokenizer, style=style)
    assert task.labels == ("bad", "good")
    said = task.predict(opened, RECORDS)
    assert [one.labels for one in said] == [record.labels for record in RECORDS]
    assert all(sum(one.probabilities.values()) == pytest.approx(1) for one in said)
    assert [one.probability for one in said] == [one.probabilities[one.labels[0]] for one in said]
    measures = task.measures(RECORDS, said)
    assert (measures[0].name, measures[0].value) == ("accuracy", 1)
    assert {"f1", "mcc", "roc_auc", "ece", "log_loss"} <= {measure.name for measure in measures}
    assert not task.wrongness(RECORDS, said).any()
    wrong = [Labelled(text=one.text, labels=(("good", "bad")[one.labels == ("good",)],)) for one in RECORDS]
    wrongness = task.wrongness(wrong, said)
    assert wrongness.tolist() == pytest.approx([said[n].probability for n in range(8)], abs=1e-9)
    again = Classify.model_validate_json(task.model_dump_json())
    assert again == task
    assert again.predict(opened, RECORDS) == said


def test_the_order_of_labels_is_that_of_numbers_where_they_are(tokenizer):
    records = [Labelled(text="a", labels=(label,)) for label in ("10", "9", "2")]
    assert Classify().begun(records).labels == ("2", "9", "10")
    assert Classify.model_validate({"labels": [0, 1]}).labels == ("0", "1")


def test_pairs_keep_their_segments_and_need_two_texts(tokenizer):
    task = Classify(kind="pair")
    with pytest.raises(DataError, match=r"train\.tsv:2.*train\.tsv:4"):
        task.begun(RECORDS, PLACES)
    pairs = [Labelled(text=one.text, pair=other.text, labels=("same" if one.labels == other.labels else "other",))
             for one in RECORDS for other in RECORDS[::3]]  # fmt: skip
    task = task.begun(pairs)
    opened = opened_for(task, tokenizer)
    batch = task.examples(opened, pairs).batch(np.array([1]), [(0, 0, 1)])
    frame = tokenizer.encode_pair(pairs[1].text, pairs[1].pair)
    assert batch.inputs.tokens_BT[0].tolist() == frame.ids
    assert batch.inputs.segments_BT[0].tolist() == frame.segment_ids
    with pytest.raises(DataError, match="two texts"):
        task.predict(opened, RECORDS[:1])


def test_several_labels_or_none(tokenizer):
    records = [
        Labelled(text=text, labels=labels)
        for text, labels in (
            ("good film", ("film", "good")), ("bad film", ("film",)), ("good book", ("good",)), ("bad book", ()),
        )
    ] * 2  # fmt: skip
    task, opened = learned(Classify(multi_label=True, balanced=True), tokenizer, records, steps=60)
    said = task.predict(opened, records)
    assert [set(one.labels) for one in said] == [set(record.labels) for record in records]
    found = values(task, records, said)
    assert (found["micro_f1"], found["exact_match"]) == (1, 1)
    assert not task.wrongness(records, said).any()
    none = said[3]
    assert none.labels == ()
    assert none.probability == pytest.approx(1 - max(none.probabilities.values()))
    half = [record.model_copy(update={"labels": ("film",)}) for record in records]
    assert task.wrongness(half, said)[0] == pytest.approx(said[0].probabilities["good"])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Labelled(text="x", labels=("godo",)), r"valid\.tsv:3 has the label 'godo'.*nearest is 'good'"),
        (Labelled(text="x", labels=("good", "bad")), r"valid\.tsv:3 has 2 labels"),
        (Labelled(text="x"), r"valid\.tsv:3 has no label"),
        (Labelled(text="", labels=("good",)), r"valid\.tsv:3 has no tokens"),
    ],
)
def test_a_record_that_does_not_fit_is_named(tokenizer, record, message):
    task = Classify().begun(RECORDS)
    opened = opened_for(task, tokenizer)
    with pytest.raises(DataError, match=message):
        task.examples(opened, [RECORDS[0], record], ["valid.tsv:2", "valid.tsv:3"])


def test_what_cannot_be_learned_from_is_refused():
    with pytest.raises(DataError, match="only the label good"):
        Classify().begun(GOOD)
    with pytest.raises(DataError, match="'bad', which is none of the task's"):
        Classify(labels=("good", "poor")).begun(RECORDS)
    assert Classify(labels=("good", "bad", "so-so")).begun(RECORDS).labels == ("good", "bad", "so-so")
    for settings in ({"labels": ["a", "b", "a"]},
        {"method": "verbalizer", "multi_label": True}, {"template": "{text} {word}"},
                     {"method": "verbalizer", "calibrate": True}):  # fmt: skip
        with pytest.raises(ValidationError):
            Classify.model_validate(settings)


def test_long_texts_are_cut_read_in_windows_or_refused(tokenizer):
    long = Labelled(text=" ".join(["good"] * 10 + ["bad"] * 9))
    records = [long, Labelled(text="good film")]
    cut = Classify(labels=("bad", "good"), max_tokens=10)
    opened = opened_for(cut, tokenizer)
    scatter(opened.model)
    assert [one.cut for one in cut.predict(opened, records)] == [11, 0]
    with pytest.raises(DataError, match=r"1 records are longer than 10 tokens: #1 \(\+11\)"):
        cut.model_copy(update={"too_long": "refuse"}).predict(opened, records)

    windows = cut.model_copy(update={"too_long": "windows"})
    said = windows.predict(opened, records)
    assert [one.cut for one in said] == [0, 0]
    ids = tokenizer.encode(long.text)
    parts = [tokenizer.framed([ids[start : start + 8]]) for start in (0, 6, 12)]
    assert parts[-1].ids[-2] == ids[-1]
    scores = torch.stack([opened.model(torch.tensor([part.ids]))[0].detach() for part in parts])
    by_hand = scores.mean(0).softmax(0).tolist()
    assert list(said[0].probabilities.values()) == pytest.approx(by_hand, abs=1e-5)
    examples = windows.examples(
        opened, [record.model_copy(update={"labels": ("good",)}) for record in records]
    )
    assert [len(part.ids) for part in parts] == examples.sizes[:3].tolist()
    assert len(examples) == 4


def test_windows_of_a_pair_go_over_the_longer_text(tokenizer):
    task = Classify(labels=("bad", "good"), max_tokens=12, too_long="windows")
    opened = opened_for(task, tokenizer)
    pair = Labelled(text="good film", pair=" ".join(["bad"] * 20), labels=("good",))
    examples = task.examples(opened, [pair])
    room = 12 - len(tokenizer.framed([[], []]).ids)
    first = tokenizer.encode(pair.text)
    for row in range(len(examples)):
        tokens = examples.batch(np.array([row]), [(0, 0, row)]).inputs.tokens_BT[0].tolist()
        assert tokens[1 : 1 + len(first)] == first
        assert len(tokens) <= 12
    assert len(examples) > 20 / room
    assert examples.lengths.cut_tokens == 0


def test_temperature_makes_probabilities_honest_and_changes_no_label(tokenizer):
    task, opened = learned(Classify(), tokenizer, steps=60)
    noisy = [record.model_copy(update={"labels": BAD[0].labels}) for record in GOOD[:2]] + GOOD[2:] + BAD
    fitted = task.calibrated(opened, noisy)
    assert fitted.temperature > 1.5
    before, after = task.predict(opened, noisy), fitted.predict(opened, noisy)
    assert [one.labels for one in before] == [one.labels for one in after]
    assert values(fitted, noisy, after)["log_loss"] < values(task, noisy, before)["log_loss"]


def test_a_head_that_others_trained_predicts_as_it_did_there(tokenizer, tmp_path):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32, id2label={0: "no", 1: "maybe", 2: "yes"}, label2id={"no": 0, "maybe": 1, "yes": 2},
    )  # fmt: skip
    theirs = transformers.BertForSequenceClassification(config)
    scatter(theirs)
    theirs.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    model, own, defaults = open_model(tmp_path, CPU)
    task = Classify.of_model(model.config)
    assert task.labels == ("no", "maybe", "yes")
    pair = Labelled(text="a good film", pair="this was bad")
    (said,) = task.predict(Opened("theirs", model, own, CPU, defaults), [pair])
    frame = own.encode_pair(pair.text, pair.pair)
    with torch.no_grad():
        logits = theirs(torch.tensor([frame.ids]), token_type_ids=torch.tensor([frame.segment_ids])).logits[0]
    assert list(said.probabilities.values()) == pytest.approx(logits.softmax(0).tolist(), abs=1e-5)


def test_batches_of_all_sizes_say_the_same(tokenizer):
    task = Classify(labels=("bad", "good"))
    opened = opened_for(task, tokenizer)
    scatter(opened.model)
    together = task.predict(opened, [*RECORDS, RECORDS[0]])
    for record, said in zip(RECORDS, together, strict=False):
        (alone,) = task.predict(opened, [record])
        assert alone.probability == pytest.approx(said.probability, abs=1e-5)
    assert task.predict(opened, []) == []

"""Tags of words: both schemes, with and without a CRF, segmentation, long sentences, what is refused, other people's heads."""

import pytest
import torch
import transformers

from finetuning import learn, tiny
from hanlin.base.errors import DataError
from hanlin.base.records import TaggedWords
from hanlin.batches.bio import first_invalid
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import open_model
from hanlin.model.rehead import with_head
from hanlin.tasks.opened import Opened
from hanlin.tasks.tag import Tag
from hanlin.tokenizer.bpe import train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.wordpiece import train_wordpiece
from tiny import CPU, scatter

LINES = ["Ann Lee lives in New York . Bob is in Oslo .", "小明住在北京，小红住在上海。"] * 8


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tag-bert")
    settings = TokenizerConfig(model="wordpiece", vocab_size=260, on_small="shrink")
    save_tokenizer(train_wordpiece(LINES, settings), "wordpiece", folder)
    return Tokenizer.load(folder)


@pytest.fixture(scope="module")
def bpe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tag-bpe")
    save_tokenizer(train_bpe(LINES, TokenizerConfig(vocab_size=420, on_small="shrink")), "bpe", folder)
    return Tokenizer.load(folder)


def tagged(words, tags):
    return TaggedWords(words=tuple(words), tags=tuple(tags.split()))


RECORDS = [
    tagged(["Ann", "Lee", "lives", "in", "New", "York", "."], "B-PER I-PER O O B-LOC I-LOC O"),
    tagged(["Bob", "is", "in", "Oslo", "."], "B-PER O O B-LOC O"),
    tagged("小明住在北京，", "B-PER I-PER O O B-LOC I-LOC O"),
    tagged("小红住在上海。", "B-PER I-PER O O B-LOC I-LOC O"),
]


def opened_for(task, tokenizer, style="bert"):
    torch.manual_seed(0)
    body = tiny(style, far=False, layers=1, vocab_size=tokenizer.vocab_size, window=64)
    return Opened("tiny", with_head(body, **task.head())[0], tokenizer, CPU, GenerationDefaults())


def learned(task, tokenizer, records=RECORDS, steps=60, style="bert"):
    task = task.begun(records)
    opened = opened_for(task, tokenizer, style)
    learn(opened.model, task.objective(records), task.examples(opened, records), steps, rows=4, rate=2e-2)
    return task, opened


@pytest.mark.parametrize(
    "settings",
    [{}, {"crf": True}, {"scheme": "bioes"}, {"scheme": "bioes", "crf": True}, {"valid_only": False}],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_spans_are_learned_and_said_as_bio(bert, settings):
    task, opened = learned(Tag(**settings), bert)
    assert len(task.labels) == (9 if settings.get("scheme") == "bioes" else 5)
    said = task.predict(opened, RECORDS)
    assert [one.tags for one in said] == [record.tags for record in RECORDS]
    first = said[0].spans
    assert [(one.start, one.stop, one.kind, one.text) for one in first] == [
        (0, 2, "PER", "Ann Lee"),
        (4, 6, "LOC", "New York"),
    ]
    assert said[2].spans[1].text == "北京"
    assert [span.probability for span in first] == [
        min(said[0].probabilities[s.start : s.stop]) for s in first
    ]
    values = {measure.name: measure.value for measure in task.measures(RECORDS, said)}
    assert values == dict.fromkeys(values, 1)
    assert next(iter(values)) == "f1"
    assert {"precision", "recall", "macro_f1", "f1_PER", "f1_LOC", "accuracy"} <= values.keys()
    assert not task.wrongness(RECORDS, said).any()
    assert Tag.model_validate_json(task.model_dump_json()) == task


def test_figures_count_whole_spans(bert):
    task = Tag().begun(RECORDS)
    record = RECORDS[0]
    said = task._said(
        record, [task.labels.index(tag) for tag in ("B-PER", "O", "O", "O", "B-LOC", "I-LOC", "O")], [0.5] * 7
    )
    values = {measure.name: measure.value for measure in task.measures([record], [said])}
    assert (values["f1"], values["precision"], values["recall"]) == (0.5, 0.5, 0.5)
    assert values["accuracy"] == pytest.approx(6 / 7)
    assert (values["f1_LOC"], values["f1_PER"], values["macro_f1"]) == (1, 0, 0.5)
    assert task.wrongness([record], [said]).tolist() == [0.5]


@pytest.mark.parametrize("settings", [{}, {"crf": True}, {"scheme": "bioes"}])
def test_what_is_said_is_valid_whatever_the_scores(bert, settings):
    task = Tag(**settings).begun(RECORDS)
    model = scatter(tiny(vocab_size=bert.vocab_size, window=64, **task.head()))
    opened = Opened("wild", model, bert, CPU, GenerationDefaults())
    records = [TaggedWords(words=tuple("小明住在北京小红住在上海" * size)) for size in (1, 2, 9)]
    raw = Tag(valid_only=False).begun(RECORDS) if settings == {} else None
    said = task.predict(opened, records)
    assert all(first_invalid(one.tags) is None for one in said)
    assert any(tag != "O" for one in said for tag in one.tags)
    if raw is not None:  # the same scores, each word alone: somewhere they are not
        assert any(first_invalid(one.tags) is not None for one in raw.predict(opened, records))


@pytest.mark.parametrize("crf", [False, True])
def test_every_word_of_a_long_sentence_has_a_tag(bert, crf):
    task, opened = learned(Tag(crf=crf, max_tokens=16, overlap=6), bert)
    long = tagged(
        "".join("小明住在北京，" for _ in range(12)), " ".join(["B-PER I-PER O O B-LOC I-LOC O"] * 12)
    )
    assert len(task.examples(opened, [*RECORDS, long])) > 10
    (said,) = task.predict(opened, [long])
    assert len(said.tags) == len(said.probabilities) == len(long.words)
    right = sum(a == b for a, b in zip(said.tags, long.tags, strict=True)) / len(long.tags)
    assert right > 0.7  # a part at a border is seen without all around it


def test_words_without_tokens_are_outside_and_empty_sentences_stay_empty(bert):
    task, opened = learned(Tag(), bert)
    said = task.predict(opened, [TaggedWords(words=("Ann", "\u200d", " ")), TaggedWords(words=())])
    assert said[0].tags[1:] == ("O", "O")
    assert (said[1].tags, said[1].spans) == ((), ())


def test_segmentation_by_letters_alone(bert):
    records = [tagged("小明住在北京，", "B E S S B E S"), tagged("小红住在上海。", "B E S S B E S")]
    task, opened = learned(Tag(), bert, records)
    assert task.labels == ("O", "B", "I")
    said = task.predict(opened, records)
    assert said[0].tags == ("B", "I", "B", "B", "B", "I", "B")
    assert [span.text for span in said[0].spans] == ["小明", "住", "在", "北京", "，"]
    assert task.measures(records, said)[0].value == 1


def test_tags_of_single_words(bert):
    records = [tagged(["Bob", "is", "in", "Oslo", "."], "N V P N X"), tagged(["小", "住", "在"], "N V P")]
    task, opened = learned(Tag(), bert, records)
    said = task.predict(opened, records)
    assert ([one.tags for one in said], said[0].spans) == ([record.tags for record in records], ())
    values = {measure.name: measure.value for measure in task.measures(records, said)}
    assert next(iter(values)) == "accuracy"
    assert {"macro_f1", "f1_N"} <= values.keys()


def test_a_vocabulary_that_joins_characters_tags_each(bpe):
    assert len(bpe.encode("住在")) == 1
    task, opened = learned(Tag(), bpe, style="llama", steps=80)
    said = task.predict(opened, RECORDS)
    assert [len(one.tags) for one in said] == [len(record.words) for record in RECORDS]
    assert said[2].tags == RECORDS[2].tags


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (tagged("小红", "B-PER I-LOC"), "a.txt:9 has the tag I-LOC at word 2"),
        (tagged("小红", "B-ORG I-ORG"), "a.txt:9 has the tag B-ORG, which is no label"),
        (TaggedWords(words=("小",)), "a.txt:9 has not one tag for each word"),
        (tagged("小红", "O"), "a.txt:9 has not one tag for each word"),
    ],
)
@pytest.mark.parametrize("scheme", ["bio", "bioes"])
def test_records_that_cannot_be_learned_are_named(bert, record, message, scheme):
    task = Tag(scheme=scheme).begun(RECORDS)
    with pytest.raises(DataError, match=message):
        task.examples(opened_for(task, bert), [RECORDS[0], record], ["a.txt:1", "a.txt:9"])


def test_training_records_need_tags():
    with pytest.raises(DataError, match="x:2 has no tags"):
        Tag().begun([RECORDS[0], TaggedWords(words=("a",))], ["x:1", "x:2"])


def test_a_head_that_others_trained_tags_as_theirs_does(bert, tmp_path):
    config = transformers.BertConfig(
        vocab_size=bert.vocab_size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, pad_token_id=bert.pad_id, id2label={0: "O", 1: "B-PER", 2: "I-PER"},
    )  # fmt: skip
    theirs = scatter(transformers.BertForTokenClassification(config))
    theirs.save_pretrained(tmp_path)
    bert.save(tmp_path)
    model, _, defaults = open_model(tmp_path, CPU)
    task = Tag.of_model(model.config).model_copy(update={"valid_only": False})
    assert task.labels == ("O", "B-PER", "I-PER")
    (said,) = task.predict(Opened("theirs", model, bert, CPU, defaults), RECORDS[2:3])
    with torch.no_grad():
        logits = theirs(torch.tensor([bert.encode_single("小明住在北京，").ids])).logits[0, 1:-1]
    assert said.tags == tuple(task.labels[best] for best in logits.argmax(1).tolist())
    torch.testing.assert_close(torch.tensor(said.probabilities), logits.softmax(1).max(1).values)

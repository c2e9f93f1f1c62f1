"""Answers as spans: exact characters, long contexts, questions without an answer, what is refused, other people's heads."""

import pytest
import torch
import transformers

from finetuning import learn, tiny
from hanlin.base.errors import DataError
from hanlin.base.records import Question
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import open_model
from hanlin.model.rehead import with_head
from hanlin.tasks.answer import Answer
from hanlin.tasks.opened import Opened
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.wordpiece import train_wordpiece
from tiny import CPU, scatter

LINES = [
    "Ann lives in Rome . Bob lives in Oslo . Who ? Where ?",
    "小明住在北京，小红住在上海。谁？哪里？",
] * 8
ENGLISH = "Ann lives in Rome . Bob lives in Oslo ."
CHINESE = "小明住在北京，小红住在上海。"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("answer-bert")
    settings = TokenizerConfig(model="wordpiece", vocab_size=260, on_small="shrink")
    save_tokenizer(train_wordpiece(LINES, settings), "wordpiece", folder)
    return Tokenizer.load(folder)


def asked(question, context, *answers):
    return Question(
        question=question,
        context=context,
        answers=answers,
        starts=tuple(context.index(one) for one in answers),
    )


RECORDS = [
    asked("Ann ?", ENGLISH, "Rome"),
    asked("Bob ?", ENGLISH, "Oslo"),
    asked("小明？", CHINESE, "北京"),
    asked("小红？", CHINESE, "上海"),
    asked("Where ?", ENGLISH),
    asked("哪里？", CHINESE),
]


@pytest.fixture(scope="module")
def learned(tokenizer):
    task = Answer().begun(RECORDS)
    torch.manual_seed(0)
    body = tiny(far=False, vocab_size=tokenizer.vocab_size, window=64)
    opened = Opened("tiny", with_head(body, **task.head())[0], tokenizer, CPU, GenerationDefaults())
    learn(opened.model, task.objective(RECORDS), task.examples(opened, RECORDS), 120, rows=6, rate=1e-2)
    return task, opened


def test_it_learns_answers_and_that_there_is_none(learned):
    task, opened = learned
    assert task.unanswerable
    said = task.predict(opened, RECORDS)
    assert [one.text for one in said] == ["Rome", "Oslo", "北京", "上海", "", ""]
    for record, one in zip(RECORDS, said, strict=True):
        assert one.start == (record.starts[0] if record.answers else None)
        assert one.probability >= max(other.probability for other in one.others)
        assert one.probability + sum(other.probability for other in one.others) <= 1 + 1e-9
        assert len(one.others) == task.best - 1
        assert task.said(one) == record.answer
    values = {measure.name: measure.value for measure in task.measures(RECORDS, said)}
    assert (values["exact_match"], values["f1"], values["unanswerable_accuracy"]) == (1, 1, 1)
    assert not task.wrongness(RECORDS, said).any()
    assert task.wrongness(RECORDS[::-1], said).tolist() == [1] * 6


def test_answers_are_the_characters_of_a_context_however_long(learned):
    """The windows in which the answer is not say nothing, and the one in which it is gives its exact characters."""
    task, opened = learned
    task = task.model_copy(update={"max_tokens": 40, "overlap": 12})
    filler = "住在，" * 30
    long = [asked("小明？", filler + "  " + CHINESE + filler, "北京"), asked("小明？", CHINESE, "北京")]
    assert len(task.examples(opened, long)) > 5
    for record, said in zip(long, task.predict(opened, long), strict=True):
        for one in (said, *said.others):
            assert one.start is None or record.context[one.start : one.start + len(one.text)] == one.text


def test_thresholds_weigh_no_answer_against_answers(learned):
    task, opened = learned
    never = task.model_copy(update={"threshold": 1e3}).predict(opened, RECORDS)
    always = task.model_copy(update={"threshold": -1e3}).predict(opened, RECORDS)
    assert all(one.text for one in never)
    assert not any(one.text for one in always)
    sure = task.model_copy(update={"unanswerable": False}).predict(opened, RECORDS)
    assert all(other.start is not None for one in sure for other in (one, *one.others))


def test_the_longest_answer_is_kept_to(learned):
    task, opened = learned
    short = task.model_copy(update={"longest": 1, "unanswerable": False}).predict(opened, RECORDS)
    assert all(len(one.text.split()) == 1 for one in short[:2])
    assert all(len(one.text) == 1 for one in short[2:4])


def test_unknown_answers_are_predicted_and_empty_contexts_have_none(learned):
    task, opened = learned
    said = task.predict(
        opened, [Question(question="Ann ?", context=ENGLISH), Question(question="Ann ?", context="")]
    )
    assert (said[0].text, said[1].text, said[1].start) == ("Rome", "", None)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Question(question="q", context="abc", answers=("d",)), "dev.json#2 has the answer 'd', which"),
        (
            Question(question="q", context="abc", answers=("c",), starts=(1,)),
            "dev.json#2 has the answer 'c', which",
        ),
        (Question(question="q", context="abc"), "dev.json#2 has no answers"),
        (Question(question="q", answers=("c",)), "dev.json#2 has no context"),
    ],
)
def test_records_that_cannot_be_learned_are_named(record, message):
    with pytest.raises(DataError, match=message):
        Answer().begun([RECORDS[0], record], ["dev.json#1", "dev.json#2"])


def test_an_answer_without_a_start_is_looked_for():
    assert Answer().begun([Question(question="q", context="abc", answers=("c",))]).unanswerable is False


def test_a_head_that_others_trained_answers_as_theirs_does(tokenizer, tmp_path):
    config = transformers.BertConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64, pad_token_id=tokenizer.pad_id,
    )  # fmt: skip
    theirs = scatter(transformers.BertForQuestionAnswering(config))
    theirs.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    model, _, defaults = open_model(tmp_path, CPU)
    task, opened = Answer.of_model(model.config), Opened("theirs", model, tokenizer, CPU, defaults)
    (said,) = task.predict(opened, RECORDS[:1])
    given = tokenizer.encode_pair(RECORDS[0].question, ENGLISH)
    with torch.no_grad():
        out = theirs(torch.tensor([given.ids]), token_type_ids=torch.tensor([given.segment_ids]))
    first = len(tokenizer.encode(RECORDS[0].question)) + 2
    start, stop = out.start_logits[0, first:-1], out.end_logits[0, first:-1]
    both = (start[:, None] + stop[None]).masked_fill(torch.ones(len(start), len(stop)).tril(-1) > 0, -1e9)
    best = divmod(int(both.argmax()), len(stop))
    _, offsets = tokenizer.encode_spans(ENGLISH)
    assert said.text == ENGLISH[offsets[best[0]][0] : offsets[best[1]][1]]

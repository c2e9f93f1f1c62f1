"""Conversations: what is learned of them, what is answered, and how likely the known answer is."""

import math
from itertools import pairwise

import pytest
import torch

from finetuning import every_row, learn
from hanlin.base.errors import ConfigError, DataError
from hanlin.base.records import Dialogue, Turn
from hanlin.batches.batch import IGNORE
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.model.assemble import build_model
from hanlin.model.config import CoreConfig
from hanlin.tasks.chat import TURNS, Chat, Replied
from hanlin.tasks.opened import Opened
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer
from tiny import CPU


def dialogue(*turns):
    roles = ("user", "assistant") * len(turns)
    said = zip(roles, turns, strict=False)
    return Dialogue(messages=tuple(Turn(role=role, content=text) for role, text in said))


ROWS = [
    dialogue("hello", "hello to you", "who?", "an old book"),
    dialogue("who?", "a new book"),
    dialogue("你好", "你好吗", "书在哪里", "在图书馆"),
    dialogue("书在哪里", "不知道"),
]


@pytest.fixture(scope="module", params=["chatml", "none"])
def tokenizer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    texts = [turn.content for row in ROWS for turn in row.messages] + ["<|user|> <|assistant|> system"]
    save_trained(train_bpe(texts * 3, TokenizerConfig(vocab_size=310)), folder)
    if request.param == "none":
        (folder / "chat_template.jinja").unlink()
    return Tokenizer.load(folder)


def opened(tokenizer, style="llama", window=128):
    torch.manual_seed(0)
    shape = {"vocab_size": tokenizer.vocab_size, "width": 48, "layers": 2, "heads": 4, "window": window}
    model = build_model(CoreConfig.model_validate({**shape, "style": style}))
    return Opened("tiny", model.eval(), tokenizer, CPU, GenerationDefaults())


def test_only_what_the_assistant_says_is_learned_with_its_end(tokenizer):
    batch = every_row(Chat().examples(opened(tokenizer), ROWS[:1]))
    targets = [id for id in batch.targets_BT[0].tolist() if id != IGNORE]
    end = "<|endoftext|>" if tokenizer.chat_template is None else "<|im_end|>"
    assert tokenizer.decode(targets, skip_special=False) == f"hello to you{end}an old book{end}"


def test_a_model_without_a_template_is_given_one_and_says_so(tokenizer, capsys):
    one, task = opened(tokenizer), Chat()
    task.examples(one, ROWS)
    said = capsys.readouterr().err
    if tokenizer.chat_template is None:
        assert "tiny has no chat template" in said
        assert task.files(one) == {"chat_template.jinja": TURNS}
        text = tokenizer.decode(every_row(task.examples(one, ROWS[:1])).tokens_BT[0].tolist())
        assert text.startswith(
            "<|user|>\nhello\n<|assistant|>\nhello to you\n<|user|>\nwho?\n<|assistant|>\n"
        )
    else:
        assert (said, task.files(one)) == ("", {})


def test_it_learns_to_answer_by_what_was_said_before(tokenizer):
    """The last turns of two pairs of conversations are the same: only the earlier turns tell the answers apart."""
    one, task = opened(tokenizer), Chat(max_new_tokens=16)
    before = {figure.name: figure.value for figure in task.measures(ROWS, task.predict(one, ROWS))}
    learn(one.model, task.objective(ROWS), task.examples(one, ROWS), steps=60, rows=4)
    said = task.predict(one, ROWS)
    assert [reply.text for reply in said] == ["an old book", "a new book", "在图书馆", "不知道"]
    assert all(reply.ended for reply in said)
    after = {figure.name: figure.value for figure in task.measures(ROWS, said)}
    assert after["perplexity"] < 1.2 < 20 < before["perplexity"]
    assert after["bits_per_byte"] < 0.2 * before["bits_per_byte"]
    assert (before["chrf"] < 50, after["chrf"]) == (True, pytest.approx(100))
    assert task.measures(ROWS, said)[0].name == "perplexity"
    assert task.wrongness(ROWS, said).max() < 0.5
    assert task.said(said[0]) == "an old book"


def test_the_known_answer_is_as_likely_as_the_model_says(tokenizer):
    """By hand: log P of the tokens of the answer and its end, after all that stands before."""
    one, task = opened(tokenizer), Chat(max_new_tokens=2)
    (reply,) = task.predict(one, ROWS[:1])
    batch = every_row(task.examples(one, ROWS[:1]))
    with torch.no_grad():
        log_p = one.model(batch.tokens_BT).log_softmax(-1)[0]
    targets = batch.targets_BT[0]
    places = (targets != IGNORE).nonzero()[:, 0].tolist()
    gaps = [second for first, second in pairwise(places) if second != first + 1]
    last = [place for place in places if place >= gaps[-1]]
    nats = -sum(float(log_p[place, targets[place]]) for place in last)
    assert (reply.answer_tokens, reply.answer_nats) == (len(last), pytest.approx(nats, abs=1e-3))
    perplexity = task.measures(ROWS[:1], [reply])[0]
    assert perplexity.value == pytest.approx(math.exp(nats / len(last)), rel=1e-4)


def test_a_question_without_an_answer_is_answered(tokenizer):
    one, task = opened(tokenizer), Chat(max_new_tokens=3)
    known, asked = task.predict(one, [ROWS[0], Dialogue(messages=ROWS[0].messages[:3])])
    assert known.text == asked.text
    assert (asked.answer_nats, asked.answer_tokens) == (None, None)
    with pytest.raises(DataError, match="#1 has no turn of the user"):
        task.predict(one, [Dialogue(messages=(Turn(role="assistant", content="hm"),))])


def test_what_the_system_says_stands_first_unless_something_does(tokenizer):
    one, task = opened(tokenizer), Chat(system="an old book", max_new_tokens=2)
    own = Dialogue(messages=(Turn(role="system", content="a new book"), *ROWS[0].messages))
    texts = [
        tokenizer.decode(every_row(task.examples(one, [row])).tokens_BT[0].tolist()) for row in (ROWS[0], own)
    ]
    assert "an old book" in texts[0].split("hello")[0]
    assert "a new book" in texts[1].split("hello")[0]
    asked = []
    whole = one.model.hidden
    one.model.hidden = lambda ids, *rest, **more: (asked.append(ids.tolist()), whole(ids, *rest, **more))[1]
    task.predict(one, ROWS[:1])
    assert tokenizer.decode(asked[0][0]).startswith(texts[0].split("hello")[0])


def test_old_turns_leave_a_conversation_that_is_too_long(tokenizer):
    one, task = opened(tokenizer, window=64), Chat(max_new_tokens=8)
    long = dialogue(*["hello to you, who? " * 2] * 9)
    (reply,) = task.predict(one, [long])
    assert reply.dropped_turns > 0
    assert reply.dropped_turns % 2 == 0


def test_only_a_decoder_can_converse(tokenizer):
    for style in ("bert", "transformer"):
        with pytest.raises(ConfigError, match="Only a decoder"):
            Chat().examples(opened(tokenizer, style), ROWS)


def test_what_is_not_known_is_not_measured():
    said = [Replied(text="a", ended=True, answer_nats=2.0, answer_tokens=2)]
    figures = {one.name: one.value for one in Chat().measures([dialogue("a", "abcd")], said)}
    assert figures["perplexity"] == pytest.approx(math.e)
    assert figures["bits_per_byte"] == pytest.approx(2 / math.log(2) / 4)

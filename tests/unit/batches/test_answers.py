"""Only the assistant's words are learned, and all of them: the end of a turn is never cut off."""

from pathlib import Path

import pytest
import torch

from finetuning import every_row, learn, tiny
from hanlin.base.errors import CheckpointError, DataError
from hanlin.base.records import Dialogue, Turn
from hanlin.batches.answers import Answers, render_completions, render_dialogues
from hanlin.batches.batch import IGNORE
from hanlin.objective.causal import Causal
from hanlin.tokenizer.bpe import train_bpe
from hanlin.tokenizer.chat import ChatTemplate
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer

LINES = [
    "The scholars read the histories. What is one and one? Two! ",
    "学而时习之，不亦说乎？有朋自远方来。",
] * 8


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder: Path = tmp_path_factory.mktemp("answers")
    save_tokenizer(train_bpe(LINES, TokenizerConfig(vocab_size=300)), "bpe", folder)
    return Tokenizer.load(folder)


def dialogue(*turns):
    return Dialogue(messages=tuple(Turn(role=role, content=text, learn=learn) for role, text, learn in turns))


LONG = dialogue(
    ("system", "You are a scholar.", True),
    ("user", "学而时习之？", True),
    ("assistant", "不亦说乎！", True),
    ("user", "What is one and one?", True),
    ("assistant", "Two!", True),
)
SHORT = dialogue(("user", "有朋？", True), ("assistant", "Yes.", True))


def learned(tokenizer, batch):
    return tokenizer.decode(batch.targets_BT[batch.targets_BT != IGNORE].tolist(), skip_special=False)


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_what_is_learned_is_what_the_template_says(tokenizer, layout):
    template = ChatTemplate(tokenizer)
    examples = Answers(render_dialogues([LONG, SHORT], template, 200), tokenizer.pad_id, layout)
    batch = every_row(examples)
    assert learned(tokenizer, batch) == "不亦说乎！<|im_end|>Two!<|im_end|>Yes.<|im_end|>"
    assert Causal().count(batch) == sum(sum(template.render(one.messages).loss_mask) for one in (LONG, SHORT))
    # Each target is the token after the one that is read there.
    alone = every_row(examples, [0])
    ids = template.render(LONG.messages).ids
    assert alone.tokens_BT[0].tolist() == ids[:-1]
    where = (alone.targets_BT[0] != IGNORE).nonzero().squeeze(1).tolist()
    assert alone.targets_BT[0, where].tolist() == [ids[place + 1] for place in where]


def test_answers_can_be_left_out_one_by_one(tokenizer):
    first, second = LONG.messages[2], LONG.messages[4]
    without = dialogue(*[(t.role, t.content, t is not first) for t in LONG.messages])
    (rendered,) = render_dialogues([without], ChatTemplate(tokenizer), 200).rendered
    assert rendered.ids == ChatTemplate(tokenizer).render(LONG.messages).ids
    batch = every_row(Answers(render_dialogues([without], ChatTemplate(tokenizer), 200), 0))
    assert learned(tokenizer, batch) == second.content + "<|im_end|>"


GENERATION = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}"
)


def test_answers_are_left_out_of_generation_blocks_too(tokenizer):
    without = dialogue(*[(t.role, t.content, t.content != "Two!") for t in LONG.messages])
    batch = every_row(Answers(render_dialogues([without], ChatTemplate(tokenizer, GENERATION), 200), 0))
    assert learned(tokenizer, batch) == "不亦说乎！"
    twice = GENERATION.replace(
        "{{ m.content }}{% endgen", "{{ m.content }}{% endgeneration %}{% generation %}{% endgen"
    )
    with pytest.raises(CheckpointError, match="4 stretches to learn in 2 answers"):
        render_dialogues([without], ChatTemplate(tokenizer, twice), 200)


def test_what_users_say_carries_no_loss_and_no_gradient(tokenizer):
    """The loss of an answer changes with what the user said, but no row of the output learns a user's token."""
    model = tiny("llama", vocab_size=300, window=200, tied=False)
    batch = every_row(Answers(render_dialogues([SHORT], ChatTemplate(tokenizer), 200), tokenizer.pad_id))
    hidden_BTC = (
        model.hidden(batch.tokens_BT, batch.positions_BT, batch.documents_BT).detach().requires_grad_()
    )
    places = batch.targets_BT != IGNORE
    model.hidden = lambda *arguments, **named: hidden_BTC
    Causal().loss(model, batch).backward()
    assert (hidden_BTC.grad[~places] == 0).all()
    assert (hidden_BTC.grad[places].abs().sum(-1) > 0).all()


def test_a_conversation_too_long_loses_whole_exchanges(tokenizer):
    template = ChatTemplate(tokenizer)
    whole, first = (template.render(LONG.messages[:count]).ids for count in (5, 3))
    for room in (len(whole) - 2, len(first) - 1):
        fitted = render_dialogues([LONG], template, room)
        assert fitted.rendered[0].ids == first
        assert fitted.cut == [len(whole) - len(first)]
        examples = Answers(fitted, 0)
        assert (examples.lengths.cut_records, examples.lengths.cut_tokens) == (1, len(whole) - len(first))
        assert learned(tokenizer, every_row(examples)).endswith("<|im_end|>")
    assert render_dialogues([LONG], template, len(whole) - 1).cut == [0]


def test_one_that_cannot_be_shortened_is_left_out_and_named(tokenizer):
    template = ChatTemplate(tokenizer)
    room = len(template.render(SHORT.messages).ids)
    examples = Answers(render_dialogues([LONG, SHORT], template, room, ["a:1", "a:2"]), 0)
    assert (len(examples), examples.left_out) == (1, ("a:1",))
    with pytest.raises(DataError, match=r"No record fits into 5 tokens.*a:1"):
        render_dialogues([LONG], template, 5, ["a:1"])


def test_a_conversation_without_an_answer_is_refused(tokenizer):
    silent = dialogue(("user", "Hello?", True), ("assistant", "Yes.", False))
    with pytest.raises(DataError, match="a:2 has no answer"):
        render_dialogues([SHORT, silent], ChatTemplate(tokenizer), 200, ["a:1", "a:2"])


def test_completions_by_hand(tokenizer):
    fitted = render_completions([("What is one and one?", " Two!")], tokenizer, 100)
    batch = every_row(Answers(fitted, tokenizer.pad_id))
    assert learned(tokenizer, batch) == " Two!<|endoftext|>"
    assert batch.tokens_BT[0].tolist()[-len(tokenizer.encode(" Two!")) :] == tokenizer.encode(" Two!")
    said = len(tokenizer.encode(" Two!")) + 1
    short = render_completions([("What is one and one?", " Two!")], tokenizer, said + 1)
    assert sum(short.rendered[0].loss_mask) == said  # the prompt is cut, from its beginning
    assert short.cut[0] > 0
    assert render_completions([("a", " Two!"), ("", "!")], tokenizer, said - 1, ["x", "y"]).left_out == ["x"]
    with pytest.raises(DataError, match="x has an empty completion"):
        render_completions([("a", "")], tokenizer, 9, ["x"])


def test_ids_before_a_record_are_read_and_not_learned(tokenizer):
    fitted = render_dialogues([SHORT], ChatTemplate(tokenizer), 200)
    plain, prefixed = (every_row(Answers(fitted, 0, prefix=prefix)) for prefix in ((), (300, 301)))
    assert prefixed.tokens_BT[0].tolist() == [300, 301, *plain.tokens_BT[0].tolist()]
    assert prefixed.targets_BT[0].tolist() == [IGNORE, IGNORE, *plain.targets_BT[0].tolist()]


def test_it_learns_to_answer_and_to_stop(tokenizer):
    pairs = [("学而时习之？", "不亦说乎！"), ("What?", "Two!"), ("有朋？", "Yes.")]
    dialogues = [dialogue(("user", asked, True), ("assistant", said, True)) for asked, said in pairs]
    template = ChatTemplate(tokenizer)
    examples = Answers(render_dialogues(dialogues, template, 100), tokenizer.pad_id)
    model = tiny("llama", far=False, vocab_size=300, window=100, width=32, layers=1)
    learn(model, Causal(), examples, steps=60, rows=3, rate=1e-2)
    for one, (_, said) in zip(dialogues, pairs, strict=True):
        ids = template.render(one.messages[:1], add_generation_prompt=True).ids
        start = len(ids)
        for _ in range(30):
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
            if ids[-1] in tokenizer.stop_ids:
                break
        assert tokenizer.decode(ids[start:], skip_special=False) == said + "<|im_end|>"

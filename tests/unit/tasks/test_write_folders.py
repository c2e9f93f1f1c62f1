"""Folders of tasks that write: what was saved opens again, and writes the same."""

import pytest
import torch

from hanlin.base.records import Dialogue, Extracted, Question, Span, Turn, Written
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.model.assemble import build_model
from hanlin.model.config import CoreConfig
from hanlin.tasks.chat import Chat
from hanlin.tasks.choice import Choice
from hanlin.tasks.extract_json import ExtractJson
from hanlin.tasks.folder import load_task, save_task
from hanlin.tasks.opened import Opened
from hanlin.tasks.reply import Reply
from hanlin.tasks.write import Write
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer
from tiny import CPU

PAIR = Written(source="a red dog", targets=("ein roter Hund",))
ASKED = Question(question="a red dog?", choices=("ein Hund", "eine Katze"), right=0)
TALK = Dialogue(
    messages=(Turn(role="user", content="a red dog"), Turn(role="assistant", content="ein roter Hund"))
)
MARKED = Extracted(text="a red dog", spans=(Span(start=2, stop=5, kind="colour"),))
TASKS = {
    "translate": (Write(max_new_tokens=8), PAIR),
    "shown": (Write(kind="rewrite", method="few-shot", shots=1, max_new_tokens=8), PAIR),
    "reply": (Reply(max_new_tokens=8), ASKED),
    "choice": (Choice(method="zero-shot"), ASKED),
    "chat": (Chat(max_new_tokens=8), TALK),
    "json": (ExtractJson(max_new_tokens=8), MARKED),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The folder of a decoder that has no chat template."""
    from hanlin.checkpoint.folder import save_model

    folder = tmp_path_factory.mktemp("base")
    texts = ["a red dog, ein roter Hund, eine Katze\n"] * 4
    save_trained(train_bpe(texts, TokenizerConfig(vocab_size=280)), folder / "tokenizer")
    (folder / "tokenizer" / "chat_template.jinja").unlink()
    tokenizer = Tokenizer.load(folder / "tokenizer")
    torch.manual_seed(0)
    shape = {"vocab_size": tokenizer.vocab_size, "width": 32, "layers": 1, "heads": 2, "window": 256}
    model = build_model(CoreConfig.model_validate(shape))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    save_model(folder / "model", model, tokenizer, GenerationDefaults(), {}, {})
    return Opened("base", model.eval(), tokenizer, CPU, GenerationDefaults()), str(folder / "model")


@pytest.mark.parametrize("name", TASKS)
def test_what_was_saved_writes_the_same(tmp_path, base, name):
    opened, place = base
    task, record = TASKS[name]
    task = task.begun([record])
    save_task(tmp_path / "it", opened, task, {}, {}, base=place)
    again = load_task(tmp_path / "it", "cpu")
    assert again.task == task
    (before,), (after,) = task.predict(opened, [record]), again.task.predict(again.opened, [record])
    assert after == before
    assert name == "choice" or before.text


def test_a_model_that_was_given_a_template_keeps_it(tmp_path, base):
    opened, place = base
    save_task(tmp_path / "it", opened, Chat(), {}, {}, base=place)
    assert opened.tokenizer.chat_template is None
    kept = load_task(tmp_path / "it", "cpu").opened.tokenizer.chat_template
    assert kept is not None
    assert "<|assistant|>" in kept or "'<|' + message['role']" in kept

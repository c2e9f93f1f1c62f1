"""Generation and conversation: masks, new tokens, typed results, turns that are kept (docs/errata.md)."""

import ast
import re
from pathlib import Path

import pytest
import torch

from hanlin.base.device import Compute
from hanlin.base.records import Message
from hanlin.generate.conversation import fit_conversation
from hanlin.generate.language_model import Completion, LanguageModel
from hanlin.generate.parameters import SamplingParameters
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer

ROOT = Path(__file__).parents[2]
TEXTS = ["My name is Lin. What is my name?\n", "翰林院的学士们读史书。\n"]


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_trained(train_bpe(TEXTS * 4, TokenizerConfig(vocab_size=300)), folder)
    tokenizer = Tokenizer.load(folder)
    torch.manual_seed(3)
    model = Decoder(
        CoreConfig(vocab_size=tokenizer.vocab_size, width=32, layers=2, heads=4, window=160, tied=False)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.3)
    compute = Compute(torch.device("cpu"), torch.float32)
    return LanguageModel(
        "tiny", model.eval(), tokenizer, compute, SamplingParameters(max_new_tokens=8, temperature=0)
    )


def turn(role, content):
    return Message(role=role, content=content)


def test_e37_padding_on_the_left_changes_nothing(language_model):
    model = language_model.decoder
    ids = torch.tensor([language_model.tokenizer.encode("My name")])
    T = ids.shape[1]
    padded = torch.cat((torch.zeros(1, 3, dtype=torch.long), ids), dim=1)
    documents = torch.tensor([[-1] * 3 + [0] * T])
    positions = torch.cat((torch.zeros(3, dtype=torch.long), torch.arange(T))).unsqueeze(0)
    with torch.no_grad():
        alone = model(ids)
        torch.testing.assert_close(model(padded, positions, documents)[:, 3:], alone, atol=1e-5, rtol=0)
        assert (model(padded)[:, 3:] - alone).abs().max() > 1e-2  # without a mask


def test_e37_the_limit_counts_new_tokens_only(language_model):
    for prompt in ("My", "My name is Lin. What is my name?"):
        completion = language_model.generate(prompt)
        assert completion.new_tokens == 8 or completion.finish_reason == "stop"


def test_e39_a_result_is_an_object_with_the_whole_text(language_model):
    completion = language_model.generate("My name is")
    assert isinstance(completion, Completion)
    assert isinstance(completion.text, str)
    assert len(completion.text) > len(completion.text[0])  # the first character alone is what the slip gives


def test_e41_the_classes_of_the_examples_exist():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    imported = 0
    for page in pages:
        for code in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hanlin"):
                    module = __import__(node.module, fromlist=[name.name for name in node.names])
                    assert all(hasattr(module, name.name) for name in node.names), node.module
                    imported += 1
    assert imported > 5


def test_e42_all_turns_become_one_sequence(language_model):
    turns = [
        turn("user", "My name is Lin."),
        turn("assistant", "Good day."),
        turn("user", "What is my name?"),
    ]
    prompt = language_model.chat_prompt(turns)
    text = language_model.tokenizer.decode(prompt.ids)
    assert all(isinstance(id, int) for id in prompt.ids)
    places = [text.index(message.content) for message in turns]
    assert places == sorted(places)


def test_e43_both_sides_are_remembered_and_whole_old_turns_go_first(language_model):
    template = language_model.chat_template
    turns = [turn("system", "Be brief."), turn("user", "My name is Lin."), turn("assistant", "Good day."),
             turn("user", "What is my name?")]  # fmt: skip
    everything = fit_conversation(template, turns, window=160, max_new_tokens=8)
    kept = language_model.tokenizer.decode(everything.ids)
    assert everything.dropped_turns == 0
    assert "My name is Lin." in kept
    assert "Good day." in kept
    tight = fit_conversation(template, turns, window=len(everything.ids) + 4, max_new_tokens=8)
    text = language_model.tokenizer.decode(tight.ids)
    assert tight.dropped_turns == 2
    assert "Be brief." in text  # never the system turn
    assert "What is my name?" in text
    assert "Lin." not in text  # the whole oldest exchange, not a part of it
    assert "Good day." not in text


def test_e44_a_reply_is_new_text_only_and_stops_at_the_end_of_its_turn(language_model):
    completion = language_model.chat([turn("user", "My name is Lin.")])
    assert "My name is Lin." not in completion.text
    assert not any(mark in completion.text for mark in ("<|im_start|>", "<|im_end|>"))
    model, tokenizer = language_model.decoder, language_model.tokenizer
    stop = min(tokenizer.stop_ids)
    with torch.no_grad():
        saved = model.head.weight.clone()
        bias = torch.nn.Parameter(
            torch.zeros(model.config.vocab_size).index_fill_(0, torch.tensor([stop]), 1e4)
        )
        model.head.bias = bias
        ended = language_model.chat([turn("user", "My name is Lin.")])
        model.head.bias = None
        model.head.weight.copy_(saved)
    assert (ended.finish_reason, ended.text) == ("stop", "")


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_e46_the_install_commands_name_real_files_and_no_python_package(page):
    text = (ROOT / page).read_text("utf-8")
    commands = re.findall(r"pip install ([^`\n]+)", text)
    assert commands
    for command in commands:
        words = command.split()
        assert "python" not in words
        assert "torchvision" not in words
        for path in re.findall(r"-c (\S+)", command):
            assert (ROOT / path).is_file(), path

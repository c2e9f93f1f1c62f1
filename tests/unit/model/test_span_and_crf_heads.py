"""Two scores a token for spans, and scores of one label after another: shapes, new heads, folders."""

import pytest
import torch
from pydantic import ValidationError

from finetuning import tiny
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import open_model, save_model
from hanlin.checkpoint.recognize import read_config
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.adapters.config import LoraConfig
from hanlin.model.config import CoreConfig
from hanlin.model.rehead import with_head
from hanlin.objective.crf import FORBIDDEN, transitions_of
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer
from tiny import CPU

NAMES = ("O", "B-X", "I-X")
IDS_BT = torch.arange(4, 14).reshape(2, 5)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("span-heads")
    save_trained(train_bpe(["abc 甲乙"] * 4, TokenizerConfig(vocab_size=262, on_small="shrink")), folder)
    return Tokenizer.load(folder)


@pytest.mark.parametrize("style", ["bert", "llama"])
def test_two_scores_for_every_token(style, tokenizer, tmp_path):
    model, new = with_head(tiny(style, vocab_size=tokenizer.vocab_size), head="span")
    assert new == ["head.weight", "head.bias"]
    assert model(IDS_BT).shape == (2, 5, 2)
    save_model(tmp_path / "span", model, tokenizer, GenerationDefaults(), {}, {})
    again, _, _ = open_model(tmp_path / "span", CPU)
    assert again.config == model.config
    torch.testing.assert_close(again(IDS_BT), model.eval()(IDS_BT))
    assert read_config(tmp_path / "span")[0].name == ("bert" if style == "bert" else "hanlin")


def test_nothing_is_dropped_before_the_scores_of_a_span():
    model = tiny(head="span", dropout=0.5).train()
    hidden = torch.randn(1, 4, 16)
    assert torch.equal(model.judge(hidden), model.judge(hidden))


def test_transitions_are_kept_with_the_model(tokenizer, tmp_path):
    torch.manual_seed(0)
    body = tiny(vocab_size=tokenizer.vocab_size)
    model, new = with_head(body, head="tag", label_names=NAMES, crf=True)
    assert new == ["head.weight", "head.bias", "transitions.weight"]
    assert model.transitions.weight.shape == (4, 4)
    assert model.transitions.weight.abs().max() < 0.2
    save_model(tmp_path / "crf", model, tokenizer, GenerationDefaults(), {}, {})
    assert read_config(tmp_path / "crf")[0].name == "hanlin"  # no family of the ecosystem has them
    again, _, _ = open_model(tmp_path / "crf", CPU)
    assert torch.equal(transitions_of(again), transitions_of(model))
    plain, _ = with_head(again, head="tag", label_names=NAMES)
    assert (plain.config.crf, plain.transitions) == (False, None)


def test_transitions_are_scores_from_one_label_to_the_next():
    model = tiny(head="tag", label_names=NAMES, crf=True)
    table = transitions_of(model).detach()
    assert float(table[1, 2]) == pytest.approx(float(model.transitions.weight.detach()[2, 1]))
    assert float(table[0, 2]) == pytest.approx(
        FORBIDDEN + float(model.transitions.weight.detach()[2, 0]), abs=1e-2
    )


def test_an_adapter_learns_its_own_transitions():
    model, _ = with_head(tiny(), head="tag", label_names=NAMES, crf=True)
    adapters = Adapters(model)
    adapters.add("task", LoraConfig(whole=("head", "transitions")))
    adapters.active = "task"
    transitions_of(model).sum().backward()
    trained = [name for name, p in model.named_parameters() if p.grad is not None and p.requires_grad]
    assert trained
    assert all("changes" in name for name in trained)


def test_transitions_need_labels_of_tokens():
    with pytest.raises(ValidationError, match="crf needs head tag"):
        CoreConfig(vocab_size=10, head="classify", labels=2, crf=True)

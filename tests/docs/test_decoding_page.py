"""The examples of docs/decoding.md run, one after another, on tiny random models."""

import re
from pathlib import Path

import pytest
import torch

from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import save_model
from hanlin.generate.beam_config import BeamConfig
from hanlin.generate.parameters import SamplingParameters
from hanlin.model.assemble import build_model
from hanlin.model.config import CoreConfig
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.wordpiece import train_wordpiece
from tiny import scatter

PAGE = (Path(__file__).parents[2] / "docs" / "decoding.md").read_text("utf-8")
TEXT = "The scholars of the academy read histories in 1723. 翰林院的学士们读史书，学而时习之。\n"


@pytest.fixture
def models(tmp_path, monkeypatch):
    """The three folders of the page, where a person would stand."""
    save_trained(train_bpe([TEXT] * 4, TokenizerConfig(vocab_size=300)), tmp_path)
    bpe = Tokenizer.load(tmp_path)
    pieces = tmp_path / "pieces"
    pieces.mkdir()
    config = TokenizerConfig(model="wordpiece", vocab_size=300, on_small="shrink")
    save_tokenizer(train_wordpiece([TEXT] * 4, config), "wordpiece", pieces)
    shapes = {
        "model": (bpe, {"style": "llama"}),
        "bert": (Tokenizer.load(pieces), {"style": "bert", "head": "masked"}),
        "t5": (bpe, {"style": "transformer"}),
    }
    for name, (tokenizer, shape) in shapes.items():
        size = {"vocab_size": tokenizer.vocab_size, "width": 16, "layers": 2, "heads": 2, "window": 96}
        torch.manual_seed(0)
        model = scatter(build_model(CoreConfig.model_validate({**size, **shape})))
        save_model(tmp_path / name, model, tokenizer, GenerationDefaults(), {}, {})
    monkeypatch.chdir(tmp_path)


def test_every_example_runs_and_says_something(models, capsys):
    names = {}
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == PAGE.count("```python") >= 10
    for example in examples:
        exec(compile(example, "docs/decoding.md", "exec"), names)
        said = capsys.readouterr().out
        assert bool(said.strip()) == ("print(" in example), example


def test_every_setting_is_on_the_page():
    elsewhere = {"stop", "stop_ids", "seed", "max_new_tokens"}  # of every way, said in words
    for name in {*SamplingParameters.model_fields, *BeamConfig.model_fields} - elsewhere:
        assert re.search(rf"`{name}`|{name}=", PAGE), name

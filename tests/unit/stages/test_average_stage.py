"""`hanlin average`: the mean of models of one shape and one tokenizer."""

from pathlib import Path

import pytest
import torch

from hanlin.base.errors import CheckpointError, ConfigError
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import open_model, save_model
from hanlin.model.assemble import build_model
from hanlin.model.config import CoreConfig
from hanlin.stages.average import run_average
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer
from tiny import CPU


def make_model(
    folder: Path, seed: int, text: str = "some words of text, and more words. ", layers: int = 1
) -> Path:
    folder.mkdir()
    save_trained(train_bpe([text] * 9, TokenizerConfig(vocab_size=280)), folder / "tokenizer")
    tokenizer = Tokenizer.load(folder / "tokenizer")
    torch.manual_seed(seed)
    model = build_model(CoreConfig(vocab_size=280, width=8, layers=layers, heads=2, window=16))
    save_model(folder / "model", model, tokenizer, GenerationDefaults(), {}, {})
    return folder / "model"


def test_the_mean_is_that_of_the_weights(tmp_path: Path) -> None:
    sources = [make_model(tmp_path / str(seed), seed) for seed in range(3)]
    report = run_average([*sources, tmp_path / "mean"])
    assert report["average_of"] == [str(source) for source in sources]
    mean, _, _ = open_model(tmp_path / "mean", CPU)
    weights = [dict(open_model(source, CPU)[0].named_parameters()) for source in sources]
    for name, parameter in mean.named_parameters():
        torch.testing.assert_close(parameter, sum(one[name].double() for one in weights).div(3).float())
    assert not torch.equal(mean.embed.token.weight, weights[0]["embed.token.weight"])


def test_what_has_no_mean_is_refused(tmp_path: Path) -> None:
    first, second = make_model(tmp_path / "a", 0), make_model(tmp_path / "b", 1)
    deeper = make_model(tmp_path / "c", 0, layers=2)
    other = make_model(tmp_path / "d", 0, text="entirely other letters: xyz! ")
    with pytest.raises(ConfigError, match="at least two models"):
        run_average([first, tmp_path / "mean"])
    with pytest.raises(ConfigError, match="exists already"):
        run_average([first, second, deeper])
    with pytest.raises(CheckpointError, match=r"different shapes: .*layers: 1 -> 2"):
        run_average([first, deeper, tmp_path / "mean"])
    with pytest.raises(CheckpointError, match="different tokenizers"):
        run_average([first, other, tmp_path / "mean"])
    assert not (tmp_path / "mean").exists()

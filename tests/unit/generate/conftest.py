"""A tiny random model with a tokenizer of its own, in memory and as a folder."""

from pathlib import Path

import pytest
import torch

from hanlin.base.device import Compute
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import save_model
from hanlin.generate.language_model import LanguageModel
from hanlin.generate.parameters import SamplingParameters
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer

WINDOW = 64
TEXTS = [
    "The scholars of the academy read the histories of the old academy.\n",
    "翰林院的学士们读史书，学而时习之，不亦说乎？\n",
]


@pytest.fixture(scope="session")
def compute() -> Compute:
    return Compute(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_trained(train_bpe(TEXTS * 4, TokenizerConfig(vocab_size=300)), folder)
    return Tokenizer.load(folder)


@pytest.fixture(scope="session")
def model(tokenizer: Tokenizer) -> Decoder:
    """Random weights far from zero, so that its predictions differ from token to token."""
    torch.manual_seed(7)
    config = CoreConfig(
        vocab_size=tokenizer.vocab_size + 4, width=32, layers=2, heads=4, window=WINDOW, tied=False
    )
    model = Decoder(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.3)
        model.head.weight[list(tokenizer.stop_ids)] = 0  # the texts of most tests are not to end by chance
    return model.eval()


@pytest.fixture
def language_model(model: Decoder, tokenizer: Tokenizer, compute: Compute) -> LanguageModel:
    return LanguageModel("tiny", model, tokenizer, compute, SamplingParameters(max_new_tokens=16))


@pytest.fixture(scope="session")
def folder(model: Decoder, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny"
    save_model(path, model, tokenizer, GenerationDefaults(temperature=0.5, top_k=7), {}, {})
    return path

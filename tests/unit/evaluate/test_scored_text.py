"""One way to ask every language model: counted, feed-forward, recurrent, and a Transformer opened from a folder."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hanlin.base.device import Compute
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import save_model
from hanlin.evaluate.perplexity import uniform
from hanlin.evaluate.scorers import ScoredText, decoder_scorer, ngram_scorer
from hanlin.generate.language_model import load
from hanlin.model.classical.config import FeedForwardConfig, RecurrentConfig
from hanlin.model.classical.feedforward import FeedForwardLanguageModel
from hanlin.model.classical.ngram import NGramModel
from hanlin.model.classical.recurrent import RecurrentLanguageModel
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer

CPU = Compute(torch.device("cpu"), torch.float32)
TEXT = "The scholars read the histories. 学士们读史书。"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_trained(train_bpe([TEXT * 4], TokenizerConfig(vocab_size=290)), folder)
    return Tokenizer.load(folder)


def test_a_folder_answers_as_its_network_does(tokenizer: Tokenizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Decoder(CoreConfig(vocab_size=tokenizer.vocab_size, width=16, layers=1, heads=2, window=8)).eval()
    save_model(tmp_path / "model", model, tokenizer, GenerationDefaults(), {}, {})
    asked = ScoredText(tokenizer, decoder_scorer(model, CPU, tokenizer.eos_id))
    assert asked.logprob(TEXT) == pytest.approx(load(tmp_path / "model", "cpu").logprob(TEXT), rel=1e-6)


def test_counted_and_neural_models_answer_alike(tokenizer: Tokenizer) -> None:
    """Each sums its own conditional probabilities, from the begin of a document on, without its end."""
    size, ids = tokenizer.vocab_size, np.array(tokenizer.encode(TEXT))
    ngram = NGramModel.train([ids], size, 3, eos_id=tokenizer.eos_id)
    torch.manual_seed(0)
    networks = [
        FeedForwardLanguageModel(FeedForwardConfig(vocab_size=size, width=8, hidden=8)),
        RecurrentLanguageModel(RecurrentConfig(cell="gru", vocab_size=size, width=8, hidden=8)),
    ]
    assert ScoredText(tokenizer, uniform(size)).logprob(TEXT) == pytest.approx(-len(ids) * np.log(size))
    assert ScoredText(tokenizer, ngram_scorer(ngram)).logprob(TEXT) == pytest.approx(
        ngram.logprobs(ids).sum()
    )
    for network in networks:
        context = torch.tensor([[tokenizer.eos_id, *ids[:-1]]])
        log_p_TV = network.eval()(context)[0].log_softmax(-1)
        expected = float(log_p_TV.detach()[range(len(ids)), ids].sum())
        asked = ScoredText(tokenizer, decoder_scorer(network, CPU, tokenizer.eos_id))
        assert asked.logprob(TEXT) == pytest.approx(expected, rel=1e-5)
        assert asked.logprob("") == 0

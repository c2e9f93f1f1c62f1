"""A runner says of given tokens what the decoder says of them, whatever the windows, slices and shared beginnings."""

import math

import numpy as np
import pytest
import torch

from hanlin.base.device import Compute
from hanlin.generate import runner_scoring
from hanlin.generate.runner_scoring import runner_scores, text_nats
from hanlin.generate.scoring import token_scores
from hanlin.generate.torch_runner import TorchRunner
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.tokenizer.tokenizer import Tokenizer
from tiny import CPU, scatter


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    torch.manual_seed(2)
    return scatter(Decoder(CoreConfig(vocab_size=30, width=16, layers=2, heads=2, window=12)))


@pytest.mark.parametrize("at_once", [1, 30 * 4, 2**22])
def test_a_runner_scores_as_the_decoder(decoder, at_once, monkeypatch):
    monkeypatch.setattr(runner_scoring, "LOGITS_AT_ONCE", at_once)
    draw = np.random.default_rng(3)
    texts = [draw.integers(0, 30, size) for size in (2, 5, 13, 12, 40, 1, 30, 6, 6)]
    texts[-1][:4] = texts[-2][:4]  # a beginning in common
    firsts = [1, 3, 1, 11, 9, 1, 25, 5, 5]
    runner = TorchRunner(decoder, CPU, slots=2)
    runner.forward([runner_scoring.Chunk(1, [4, 4, 4], "none")])  # what the slot held before is of no matter
    found = runner_scores(runner, texts, firsts, slot=1)
    for one, other in zip(found, token_scores(decoder, texts, CPU, firsts), strict=True):
        np.testing.assert_allclose(one.log_p, other.log_p, atol=1e-5)
        assert np.array_equal(one.likeliest, other.likeliest)


def test_what_texts_begin_with_alike_is_read_once(decoder):
    runner, read = TorchRunner(decoder, CPU), []
    forward = runner.forward
    runner.forward = lambda chunks: read.append(len(chunks[0].ids)) or forward(chunks)
    runner_scores(runner, [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 7, 8], [1, 2, 9, 9, 9]], [4, 4, 4])
    assert read == [3, 2, 2, 1, 1]


def test_bits_per_byte_of_a_text(model: Decoder, tokenizer: Tokenizer, compute: Compute):
    text = "The scholars 学士们读史书 of the academy. " * 8
    ids = tokenizer.encode_prompt(text)
    assert len(ids) > model.config.window, "longer than one window"
    nats, size = text_nats(TorchRunner(model, compute, 1), tokenizer, text)
    (scores,) = token_scores(model, [ids], compute, [1])
    assert nats == pytest.approx(-scores.log_p.sum(), rel=1e-5)
    assert size == len(text.encode()) > len(text)
    assert nats / math.log(2) / size > 0

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hanlin.base.device import Compute
from hanlin.evaluate.scorers import decoder_scorer, ngram_scorer
from hanlin.generate import scoring
from hanlin.generate.scoring import windows
from hanlin.model.classical.ngram import NGramModel
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder

CPU = Compute(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest) -> Decoder:
    torch.manual_seed(1)
    config = CoreConfig.model_validate(
        {"style": request.param, "vocab_size": 23, "width": 16, "layers": 2, "heads": 2, "window": 16}
    )
    decoder = Decoder(config)
    with torch.no_grad():  # weights large enough that every token of the context matters
        for parameter in decoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return decoder.eval()


def documents() -> list[np.ndarray]:
    generator = np.random.default_rng(3)
    return [generator.integers(1, 23, size=size) for size in (5, 1, 16, 40, 0, 17, 3)]


def one_by_one(model: Decoder, ids: np.ndarray, window: int) -> np.ndarray:
    """Each token from its own forward pass over exactly the context that the rule promises."""
    answers = []
    stream = [0, *ids.tolist()]
    for start, scored, stop in windows(1, len(stream), window):
        for target in range(scored, stop):
            context = torch.tensor([stream[start:target]])
            with torch.inference_mode():
                answers.append(model(context)[0, -1].log_softmax(-1)[stream[target]].item())
    return np.array(answers)


def test_equals_one_forward_pass_a_token(model: Decoder) -> None:
    scored = decoder_scorer(model, CPU, begin_id=0)(documents())
    for ids, log_p in zip(documents(), scored, strict=True):
        np.testing.assert_allclose(log_p, one_by_one(model, ids, 16), atol=1e-5)


def test_batching_and_slicing_change_nothing(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    together = decoder_scorer(model, CPU, begin_id=0)(documents())
    monkeypatch.setattr(scoring, "TOKENS_AT_ONCE", 1)
    monkeypatch.setattr(scoring, "LOGITS_AT_ONCE", 1)
    apart = decoder_scorer(model, CPU, begin_id=0)(documents())
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_probabilities_of_the_first_token_sum_to_one(model: Decoder) -> None:
    scored = decoder_scorer(model, CPU, begin_id=0)([np.array([token]) for token in range(23)])
    assert np.exp(np.concatenate(scored)).sum() == pytest.approx(1, abs=1e-5)


@given(length=st.integers(0, 100), first=st.integers(1, 60), window=st.integers(2, 33))
def test_windows_score_each_token_once_with_half_a_window_before_it(
    length: int, first: int, window: int
) -> None:
    cuts = list(windows(first, length, window))
    assert [t for _, scored, stop in cuts for t in range(scored, stop)] == list(range(first, length))
    for start, scored, stop in cuts:
        assert 1 < stop - start <= window + 1
        assert start < scored
        assert start == 0 or scored - start >= window // 2


def test_the_ngram_scorer_gives_the_models_logprobs() -> None:
    ngram = NGramModel.train(documents(), 23, 3, eos_id=0)
    for ids, log_p in zip(documents(), ngram_scorer(ngram)(documents()), strict=True):
        np.testing.assert_array_equal(log_p, ngram.logprobs(ids))

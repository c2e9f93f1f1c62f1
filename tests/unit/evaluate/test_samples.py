import pytest
import torch

from hanlin.base.device import Compute
from hanlin.base.errors import RequestError
from hanlin.evaluate.config import EvaluateConfig
from hanlin.evaluate.samples import write_samples
from hanlin.generate.language_model import LanguageModel
from hanlin.generate.parameters import SamplingParameters
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_trained(train_bpe(["row, row, row your boat " * 4], TokenizerConfig(vocab_size=270)), folder)
    tokenizer = Tokenizer.load(folder)
    torch.manual_seed(2)
    decoder = Decoder(CoreConfig(vocab_size=tokenizer.vocab_size, width=16, layers=1, heads=2, window=32))
    return LanguageModel(
        "little", decoder, tokenizer, Compute(torch.device("cpu"), torch.float32), SamplingParameters()
    )


def test_each_prompt_is_continued_and_the_same_seed_repeats_it(model: LanguageModel) -> None:
    config = EvaluateConfig(prompts=("row", "船"), max_new_tokens=5, temperature=1.0)
    samples = write_samples(model, config)
    assert [sample.prompt for sample in samples] == ["row", "船"]
    assert all(sample.finish_reason in ("length", "stop") for sample in samples)
    assert samples == write_samples(model, config)
    assert samples != write_samples(model, config.model_copy(update={"seed": 1}))


def test_no_prompts_give_no_samples(model: LanguageModel) -> None:
    assert write_samples(model, EvaluateConfig()) == ()


def test_a_prompt_longer_than_the_window_is_refused(model: LanguageModel) -> None:
    with pytest.raises(RequestError):
        write_samples(model, EvaluateConfig(prompts=("boat " * 100,)))

import pytest
import torch

from hanlin.base.device import choose_compute
from hanlin.generate.language_model import LanguageModel
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.serve.mode import ends_its_turns
from hanlin.serve.problems import prefers_chinese
from serving import WINDOW, learn, lessons


def decoder(vocab_size: int) -> Decoder:
    torch.manual_seed(3)
    return Decoder(CoreConfig(vocab_size=vocab_size, width=32, layers=1, heads=2, window=WINDOW))


def test_only_a_model_that_learned_conversations_counts_as_chat(model: LanguageModel):
    assert ends_its_turns(model)
    texts, dialogues = lessons(model.tokenizer)[:2], lessons(model.tokenizer)[2:]
    assert dialogues
    base = decoder(model.tokenizer.vocab_size)
    compute = choose_compute("cpu")
    assert not ends_its_turns(LanguageModel("blank", base, model.tokenizer, compute, model.defaults))
    learn(base, texts, steps=150, enough=3.0)
    assert not ends_its_turns(LanguageModel("base", base.eval(), model.tokenizer, compute, model.defaults))


@pytest.mark.parametrize(
    ("header", "chinese"),
    [
        ("zh", True),
        ("zh-Hant-TW, en;q=0.5", True),
        ("en, zh", False),
        ("en;q=0.4, fr, zh;q=0.6", True),
        ("zh;q=0", False),
        ("zh;q=x", False),
        ("*", False),
        ("", False),
    ],
)
def test_language_of_a_header(header: str, chinese: bool):
    assert prefers_chinese(header) is chinese

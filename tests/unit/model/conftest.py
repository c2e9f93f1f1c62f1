"""Tiny models whose weights are far from zero, so that every part of them shows in the logits."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder

LLAMA = {"style": "llama", "heads": 4, "kv_heads": 2, "head_size": 6}
GPT2 = {"style": "gpt2", "heads": 4}
STYLES = {"llama": LLAMA, "gpt2": GPT2}


@pytest.fixture(scope="session")
def config() -> Callable[..., CoreConfig]:
    def config(style: str = "llama", **settings: Any) -> CoreConfig:
        shape = {"vocab_size": 50, "width": 16, "layers": 2, "ffn_width": 24, "window": 32}
        return CoreConfig.model_validate({**shape, **STYLES[style], **settings})

    return config


@pytest.fixture(scope="session")
def model(config: Callable[..., CoreConfig]) -> Callable[..., Decoder]:
    def model(style: str = "llama", **settings: Any) -> Decoder:
        torch.manual_seed(0)
        decoder = Decoder(config(style, **settings))
        with torch.no_grad():
            for parameter in decoder.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        return decoder.eval()

    return model


@pytest.fixture(scope="session")
def tokens() -> Callable[..., Tensor]:
    def tokens(rows: int, length: int, seed: int = 1, vocab_size: int = 50) -> Tensor:
        return torch.randint(vocab_size, (rows, length), generator=torch.Generator().manual_seed(seed))

    return tokens

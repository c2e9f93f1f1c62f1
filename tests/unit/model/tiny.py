"""Tiny models whose weights are far from zero, so that every part of them shows in the logits."""

import torch

from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder

LLAMA = {"style": "llama", "heads": 4, "kv_heads": 2, "head_size": 6}
GPT2 = {"style": "gpt2", "heads": 4}
STYLES = {"llama": LLAMA, "gpt2": GPT2}


def config(style="llama", **settings):
    shape = {"vocab_size": 50, "width": 16, "layers": 2, "ffn_width": 24, "window": 32}
    return CoreConfig.model_validate({**shape, **STYLES[style], **settings})


def model(style="llama", seed=0, **settings):
    torch.manual_seed(seed)
    decoder = Decoder(config(style, **settings))
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return decoder.eval()


def tokens(rows, length, seed=1, vocab_size=50):
    return torch.randint(vocab_size, (rows, length), generator=torch.Generator().manual_seed(seed))

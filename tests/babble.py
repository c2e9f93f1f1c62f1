"""What tests of constraints share: a model whose every prediction is noise."""

from dataclasses import dataclass, field
from typing import Any

import torch

from hanlin.generate.controls import Controls
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.sampling import choose
from hanlin.tokenizer.tokenizer import Tokenizer


@dataclass
class Babble:
    """A request to that model."""

    parameters: SamplingParameters
    controls: Controls | None
    random: torch.Generator
    token_ids: list[int] = field(default_factory=list)

    def uniform(self) -> float:
        return float(torch.rand((), dtype=torch.float64, generator=self.random))


def babble(tokenizer: Tokenizer, seed: int, limit: int = 2000, **asked: Any) -> tuple[str, str]:
    """What comes out, and why it ended: "end" for an end token."""
    parameters = SamplingParameters().changed(asked)
    random = torch.Generator().manual_seed(seed)
    request = Babble(parameters, Controls.of(parameters, (), tokenizer), random)
    assert request.controls is not None
    for _ in range(limit):
        logits = torch.randn(1, tokenizer.vocab_size, generator=random) * 3
        (chosen,) = choose(logits, [request])
        request.token_ids.append(chosen.id)
        ended = request.controls.ended(request.token_ids)
        if chosen.id in tokenizer.stop_ids:
            return tokenizer.decode(request.token_ids), ended or "end"
        if ended is not None:
            return tokenizer.decode(request.token_ids), ended
    return tokenizer.decode(request.token_ids), "limit"

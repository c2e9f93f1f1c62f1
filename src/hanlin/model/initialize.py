"""Every initial value of a model, in one place.

| parameter                                  | value                                        |
|--------------------------------------------|----------------------------------------------|
| embeddings, output head                    | normal, std 0.02                             |
| embeddings scaled up by s, also if tied    | normal, std 1 / s                            |
| linear weights                             | normal, std 0.02                             |
| linear weights that end a residual branch  | normal, std 0.02 / sqrt(2 x layers)          |
| norm weights                               | 1 (0 where the factor is 1 + weight)         |
| biases                                     | 0                                            |

Sources: GPT-2 (Radford et al. 2019, section 2.3) for the depth-scaled residual branches; tensor2tensor (the code of
arXiv 1706.03762) for scaled embeddings, std width^-1/2.
"""

import math

from torch import nn

from hanlin.model.config import CoreConfig
from hanlin.model.heads import OVER_VOCABULARY
from hanlin.model.norm import LayerNorm, RMSNorm

STD = 0.02
RESIDUAL_ENDS = (".attention.output", ".cross.output", ".down")


def initialize(model: nn.Module) -> None:
    """Set every parameter of `model`, which has a `config`, from torch's current random generator."""
    config: CoreConfig = model.config  # type: ignore[assignment]
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=_std(name, config))
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, RMSNorm | LayerNorm):
            offset = isinstance(module, RMSNorm) and module.unit_offset
            nn.init.constant_(module.weight, 0.0 if offset else 1.0)
            if isinstance(module, LayerNorm) and module.bias is not None:
                nn.init.zeros_(module.bias)


def _std(name: str, config: CoreConfig) -> float:
    if name.endswith(RESIDUAL_ENDS):
        return STD / math.sqrt(2 * config.layers)
    tied_head = name == "head" and config.tied and config.head in OVER_VOCABULARY
    scaled = config.embedding_scale != 1 and (tied_head or name.endswith("embed.token"))
    return 1 / config.embedding_scale if scaled else STD

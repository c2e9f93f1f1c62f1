"""Every initial value of a model, in one place.

| parameter                                  | value                                        |
|--------------------------------------------|----------------------------------------------|
| embeddings, output head                    | normal, std 0.02                             |
| embeddings that are scaled up by s         | normal, std 1 / s                            |
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
from hanlin.model.norm import LayerNorm, RMSNorm

STD = 0.02
RESIDUAL_ENDS = (".attention.output", ".cross.output", ".down")


def initialize(model: nn.Module) -> None:
    """Set every parameter of `model`, which has a `config`, from torch's current random generator."""
    config: CoreConfig = model.config  # type: ignore[assignment]
    residual_std = STD / math.sqrt(2 * config.layers)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=residual_std if name.endswith(RESIDUAL_ENDS) else STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            scaled = config.embedding_scale != 1 and name.endswith("embed.token")
            nn.init.normal_(module.weight, std=1 / config.embedding_scale if scaled else STD)
        elif isinstance(module, RMSNorm | LayerNorm):
            offset = isinstance(module, RMSNorm) and module.unit_offset
            nn.init.constant_(module.weight, 0.0 if offset else 1.0)
            if isinstance(module, LayerNorm) and module.bias is not None:
                nn.init.zeros_(module.bias)

"""Every initial value of a model, in one place.

| parameter                                  | value                                        |
|--------------------------------------------|----------------------------------------------|
| embeddings, output head                    | normal, std 0.02                             |
| linear weights                             | normal, std 0.02                             |
| linear weights that end a residual branch  | normal, std 0.02 / sqrt(2 x layers)          |
| norm weights                               | 1                                            |
| biases                                     | 0                                            |

Source: GPT-2 (Radford et al. 2019, section 2.3) for the depth-scaled residual branches.
"""

import math
from typing import TYPE_CHECKING

from torch import nn

from hanlin.model.norm import LayerNorm, RMSNorm

if TYPE_CHECKING:
    from hanlin.model.decoder import Decoder

STD = 0.02


def initialize(model: "Decoder") -> None:
    """Set every parameter of `model` from torch's current random generator."""
    residual_std = STD / math.sqrt(2 * model.config.layers)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            ends_branch = name.endswith((".attention.output", ".ffn.down"))
            nn.init.normal_(module.weight, std=residual_std if ends_branch else STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=STD)
        elif isinstance(module, RMSNorm | LayerNorm):
            nn.init.ones_(module.weight)
            if isinstance(module, LayerNorm):
                nn.init.zeros_(module.bias)

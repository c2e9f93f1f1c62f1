"""From settings to a model."""

import torch
from torch import nn

from hanlin.model.bias import LinearBias
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.model.encoder import Encoder
from hanlin.model.position import RotaryTable, SinusoidalTable
from hanlin.model.seq2seq import Seq2Seq

Model = Decoder | Encoder | Seq2Seq
"""Every assembly of the one core."""

_ASSEMBLIES: dict[str, type[Decoder] | type[Encoder] | type[Seq2Seq]] = {
    "decoder": Decoder,
    "encoder": Encoder,
    "seq2seq": Seq2Seq,
}


def build_model(config: CoreConfig) -> Model:
    """A model with initial values from torch's current random generator."""
    return _ASSEMBLIES[config.assembly](config)


def build_outline(config: CoreConfig) -> Model:
    """A model without memory: names, shapes and modules only."""
    with torch.device("meta"):
        return build_model(config)


def build_empty(config: CoreConfig, device: torch.device) -> Model:
    """A model whose parameters have memory but no values yet: for loading weights into."""
    model = build_outline(config)
    model.to_empty(device=device)
    model.tie()
    fill_tables(model)
    return model


def fill_tables(model: nn.Module) -> None:
    """Compute the tables that are no parameters."""
    for module in model.modules():
        if isinstance(module, RotaryTable | SinusoidalTable | LinearBias):
            module.fill()

"""From settings to a model."""

from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from hanlin.model.bias import LinearBias
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.model.encoder import Encoder
from hanlin.model.position import SinusoidalTable
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


class _NoValues(TorchFunctionMode):
    """Within it `nn.init` sets nothing: on tensors without memory it would load half of torch's compiler to do so."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__module__", "") == nn.init.__name__:
            return None
        return func(*args, **(kwargs or {}))


def build_outline(config: CoreConfig) -> Model:
    """A model without memory: names, shapes and modules only."""
    with torch.device("meta"), _NoValues():
        return build_model(config)


def build_empty(config: CoreConfig, device: torch.device, dtype: torch.dtype = torch.float32) -> Model:
    """A model whose parameters have memory but no values yet: for loading weights into."""
    model = build_outline(config)
    # What `to_empty` does, which would load sympy first.
    model._apply(lambda tensor: torch.empty(tensor.shape, dtype=dtype, device=device))  # type: ignore[no-untyped-call]
    model.tie()
    fill_tables(model)
    return model


def fill_tables(model: nn.Module) -> None:
    """Compute the tables that are no parameters."""
    for module in model.modules():
        if isinstance(module, SinusoidalTable | LinearBias):
            module.fill()

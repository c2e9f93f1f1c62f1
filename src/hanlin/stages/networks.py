"""The networks of the ladder, each with as many parameters as the Transformer at its top."""

from bisect import bisect_right
from typing import Any

import torch

from hanlin.evaluate.ladder import LadderConfig, RungName
from hanlin.model.classical.config import FeedForwardConfig, RecurrentConfig
from hanlin.model.classical.feedforward import FeedForwardLanguageModel
from hanlin.model.classical.recurrent import RecurrentLanguageModel
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder

NetworkConfig = CoreConfig | FeedForwardConfig | RecurrentConfig
Network = Decoder | FeedForwardLanguageModel | RecurrentLanguageModel
MOST_HIDDEN = 2**14
"""The widest hidden layer that is tried to meet the Transformer's size."""


def build_network(config: NetworkConfig) -> Network:
    """The network of some settings, with initial values from torch's current random generator."""
    if isinstance(config, CoreConfig):
        return Decoder(config)
    if isinstance(config, FeedForwardConfig):
        return FeedForwardLanguageModel(config)
    return RecurrentLanguageModel(config)


def count_parameters(config: NetworkConfig) -> int:
    """Trained values of a network, shared ones once; takes no memory."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_network(config).parameters())


def network_config(name: RungName, core: CoreConfig, ladder: LadderConfig) -> NetworkConfig:
    """The settings of a rung: embedding, window and dropout of the recipe's Transformer, and as many parameters as it
    has: the widest hidden layer that does not exceed it, but at least 1.
    """
    if name == "transformer":
        return core
    common: dict[str, Any] = {
        "vocab_size": core.vocab_size, "width": core.width, "dropout": core.dropout, "window": core.window,
    }  # fmt: skip

    def sized(hidden: int) -> FeedForwardConfig | RecurrentConfig:
        if name == "feed-forward":
            return FeedForwardConfig(**common, context=ladder.context, hidden=hidden)
        layers = ladder.recurrent_layers
        return RecurrentConfig.model_validate(
            {**common, "cell": name, "layers": layers, "hidden": hidden, "tied": core.tied}
        )

    widths = range(1, MOST_HIDDEN + 1)
    fitting = bisect_right(widths, count_parameters(core), key=lambda hidden: count_parameters(sized(hidden)))
    return sized(max(1, fitting))

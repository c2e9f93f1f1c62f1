"""The decoder-only assembly: P(x_t | x_<t) for every t."""

from hanlin.model.config import CoreConfig
from hanlin.model.headed import Headed


class Decoder(Headed):
    """A causal stack with a head. GPT-2, Llama, Qwen, Gemma, GLM and Mixtral are settings of it."""

    def __init__(self, config: CoreConfig) -> None:
        assert config.assembly == "decoder"
        super().__init__(config)

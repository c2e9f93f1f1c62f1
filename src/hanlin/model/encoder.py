"""The encoder-only assembly: every token sees the whole text."""

from hanlin.model.config import CoreConfig
from hanlin.model.headed import Headed


class Encoder(Headed):
    """A bidirectional stack with a head. BERT, RoBERTa and ModernBERT are settings of it."""

    def __init__(self, config: CoreConfig) -> None:
        assert config.assembly == "encoder"
        super().__init__(config)

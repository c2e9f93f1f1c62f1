"""A model that is opened for a task, with all that goes with it."""

from dataclasses import dataclass

from hanlin.base.device import Compute
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.assemble import Model
from hanlin.model.headed import Headed
from hanlin.tokenizer.tokenizer import Tokenizer

ADAPTER = "task"
"""The name of the adapter that a task trains."""


@dataclass
class Opened:
    """name: what the model is called. adapters: there if the task is an adapter of it, `ADAPTER`, which is active."""

    name: str
    model: Model
    tokenizer: Tokenizer
    compute: Compute
    defaults: GenerationDefaults
    adapters: Adapters | None = None

    @property
    def headed(self) -> Headed:
        """The model, which is one stack with a head."""
        assert isinstance(self.model, Headed)
        return self.model

    @property
    def prefix(self) -> list[int]:
        """The ids of a soft prompt, which stand before every input; empty if there is none."""
        return [] if self.adapters is None else self.adapters.prompt_ids(ADAPTER)

    def window(self, max_tokens: int | None) -> int:
        """Tokens that an input may have: what is asked for, at most the model's window less its soft prompt."""
        room = self.model.config.window - len(self.prefix)
        return room if max_tokens is None else min(max_tokens, room)

"""One request on its way through the engine, and the pieces that come out of it."""

import secrets
from dataclasses import dataclass, field
from typing import Literal

import torch

from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.stream import Detokenizer, StopTexts
from hanlin.tokenizer.tokenizer import Tokenizer

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Piece:
    """What one step added to one generation. The last piece of a generation has a finish reason."""

    generation: "Generation"
    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason | None


@dataclass(eq=False)
class Generation:
    """A request and its text so far. Made by `Engine.submit`; only the engine changes it.

    `new_tokens` counts a stop token too. `seed` is the one given or the one that was drawn.
    """

    id: int
    prompt_ids: tuple[int, ...]
    parameters: SamplingParameters
    limit: int
    tokenizer: Tokenizer = field(repr=False)
    adapter: str | None = None
    token_ids: list[int] = field(default_factory=list, init=False, repr=False)
    finish_reason: FinishReason | None = field(default=None, init=False)
    seed: int = field(init=False)

    def __post_init__(self) -> None:
        seed = self.parameters.seed
        self.seed = secrets.randbits(63) if seed is None else seed
        self._random = torch.Generator().manual_seed(self.seed)
        self._detokenizer = Detokenizer(self.tokenizer)
        self._stops = StopTexts(self.parameters.stop)
        self._texts: list[str] = []

    @property
    def prompt_tokens(self) -> int:
        """Number of tokens of the prompt."""
        return len(self.prompt_ids)

    @property
    def new_tokens(self) -> int:
        """Number of tokens generated so far."""
        return len(self.token_ids)

    @property
    def text(self) -> str:
        """The text so far, without the prompt and without a stop text."""
        return "".join(self._texts)

    def uniform(self) -> float:
        """The next random number in [0, 1) of this request's own sequence, the same on every device."""
        return float(torch.rand((), dtype=torch.float64, generator=self._random))

    def accept(self, id: int) -> Piece:
        """Take the next token; the generation ends at a stop id, a complete stop text, or the last token
        there is room for."""
        self.token_ids.append(id)
        if id in self.tokenizer.stop_ids:
            return self._finish("stop", "", (id,))
        text = self._stops.push(self._detokenizer.push(id))
        if self._stops.reached:
            return self._end("stop", text, (id,))
        if self.new_tokens >= self.limit:
            return self._finish("length", text, (id,))
        self._texts.append(text)
        return Piece(self, text, (id,), None)

    def cancel(self) -> Piece:
        """End here, keeping what came so far."""
        return self._finish("cancelled", "", ())

    def _finish(self, reason: FinishReason, text: str, ids: tuple[int, ...]) -> Piece:
        """End with what was held back; that text may itself complete a stop."""
        text += self._stops.push(self._detokenizer.finish())
        if self._stops.reached:
            return self._end("stop", text, ids)
        return self._end(reason, text + self._stops.finish(), ids)

    def _end(self, reason: FinishReason, text: str, ids: tuple[int, ...]) -> Piece:
        self.finish_reason = reason
        self._texts.append(text)
        return Piece(self, text, ids, reason)

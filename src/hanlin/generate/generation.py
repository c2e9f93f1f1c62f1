"""One request on its way through the engine, and the pieces that come out of it."""

import secrets
from dataclasses import dataclass, field
from typing import Literal

import torch

from hanlin.generate.controls import Controls
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.sampling import Chosen
from hanlin.generate.stream import Detokenizer, StopTexts
from hanlin.tokenizer.tokenizer import Tokenizer

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Piece:
    """What one step added to one generation. The last piece of a generation has a finish reason."""

    generation: "Generation"
    text: str
    chosen: tuple[Chosen, ...]
    finish_reason: FinishReason | None

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The tokens that came."""
        return tuple(one.id for one in self.chosen)

    def and_then(self, later: "Piece") -> "Piece":
        """Both as one piece."""
        text, chosen = self.text + later.text, self.chosen + later.chosen
        return Piece(self.generation, text, chosen, later.finish_reason)


@dataclass(eq=False)
class Generation:
    """A request and its text so far. Made by `Engine.submit`; only the engine changes it.

    `new_tokens` counts a stop token too. `seed` is the one given or the one that was drawn. `cached_tokens` of the
    prompt were held already when it began. `preemptions`: how often it had to give its memory to older requests, and
    went on later. Of `proposed` tokens of speculation, `accepted` were those that were drawn. `begun_at`: when
    it first got a row, by `time.perf_counter`; None before, and where an engine does not tell.
    """

    id: int
    prompt_ids: tuple[int, ...]
    parameters: SamplingParameters
    limit: int
    tokenizer: Tokenizer = field(repr=False)
    adapter: str | None = None
    chosen: list[Chosen] = field(default_factory=list, init=False, repr=False)
    token_ids: list[int] = field(default_factory=list, init=False, repr=False)
    cached_tokens: int = field(default=0, init=False)
    preemptions: int = field(default=0, init=False)
    proposed: int = field(default=0, init=False)
    accepted: int = field(default=0, init=False)
    finish_reason: FinishReason | None = field(default=None, init=False)
    begun_at: float | None = field(default=None, init=False)
    seed: int = field(init=False)

    def __post_init__(self) -> None:
        seed = self.parameters.seed
        self.seed = secrets.randbits(63) if seed is None else seed
        self._random = torch.Generator().manual_seed(self.seed)
        self.controls = Controls.of(self.parameters, self.prompt_ids, self.tokenizer)
        self._stop_ids = self.tokenizer.stop_ids.union(self.parameters.stop_ids)
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

    def accept(self, chosen: Chosen) -> Piece:
        """Take the next token; the generation ends at a stop id, a complete stop text, where its constraint has no more
        to say, or at the last token there is room for."""
        id, came = chosen.id, (chosen,)
        self.token_ids.append(id)
        self.chosen.append(chosen)
        ended = self.controls.ended(self.token_ids) if self.controls is not None else None
        if id in self._stop_ids:
            return self._finish(ended or "stop", "", came)
        text = self._stops.push(self._detokenizer.push(id))
        if self._stops.reached:
            return self._end("stop", text, came)
        if ended is None and self.new_tokens >= self.limit:
            ended = "length"
        if ended is not None:
            return self._finish(ended, text, came)
        self._texts.append(text)
        return Piece(self, text, came, None)

    def cancel(self) -> Piece:
        """End here, keeping what came so far."""
        return self._finish("cancelled", "", ())

    def _finish(self, reason: FinishReason, text: str, came: tuple[Chosen, ...]) -> Piece:
        """End with what was held back; that text may itself complete a stop."""
        text += self._stops.push(self._detokenizer.finish())
        if self._stops.reached:
            return self._end("stop", text, came)
        return self._end(reason, text + self._stops.finish(), came)

    def _end(self, reason: FinishReason, text: str, came: tuple[Chosen, ...]) -> Piece:
        self.finish_reason = reason
        self._texts.append(text)
        return Piece(self, text, came, reason)

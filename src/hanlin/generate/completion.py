"""What a request gives: the whole text, without its prompt, and how it came about."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hanlin.generate.driving import Request
from hanlin.generate.generation import FinishReason, Generation
from hanlin.generate.sampling import Chosen
from hanlin.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Token:
    """One token of a text. log_probability: natural logarithm, of the model's own distribution, before any filter.

    `top` are the likeliest in its place with theirs, if they were asked for.
    """

    id: int
    text: str
    log_probability: float | None = None
    top: tuple["Token", ...] = ()


@dataclass(frozen=True)
class Completion:
    """A whole continuation or answer, without the prompt, and the model that gave it.

    `seed` repeats it. `cached_tokens` of the prompt needed not be computed again. `dropped_turns`, or `dropped_tokens`
    of a text that is no conversation, did not fit the window. `tokens` are those of the text, the one that ended it
    included, where log-probabilities were asked for.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    new_tokens: int
    seed: int
    dropped_turns: int = 0
    dropped_tokens: int = 0
    cached_tokens: int = field(default=0, compare=False)
    tokens: tuple[Token, ...] = ()
    model: str = ""
    adapter: str | None = None


def completion_of(model: str, request: Request, generation: Generation) -> Completion:
    """The result of a generation that has ended."""
    assert generation.finish_reason is not None
    asked = request.parameters.log_probabilities is not None
    return Completion(
        generation.text,
        generation.finish_reason,
        generation.prompt_tokens,
        generation.new_tokens,
        generation.seed,
        request.prompt.dropped_turns,
        request.prompt.dropped_tokens,
        generation.cached_tokens,
        tokens_of(generation.tokenizer, generation.chosen) if asked else (),
        model,
        request.adapter,
    )


def tokens_of(tokenizer: Tokenizer, chosen: Sequence[Chosen]) -> tuple[Token, ...]:
    """Tokens as text, one by one: what is a part of a character alone shows as U+FFFD."""

    def token(id: int, log_probability: float | None, top: Sequence[tuple[int, float]] = ()) -> Token:
        text = tokenizer.decode([id], skip_special=False)
        return Token(id, text, log_probability, tuple(token(*one) for one in top))

    return tuple(token(one.id, one.log_probability, one.top) for one in chosen)

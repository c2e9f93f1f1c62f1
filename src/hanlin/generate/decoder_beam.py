"""The likeliest continuations of prompts by a decoder: beam search over the slots of a runner.

R rows of the search, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from hanlin.base.progress import track
from hanlin.generate.beam import BeamConfig, Hypothesis, beam_search
from hanlin.generate.refusals import empty_prompt, no_adapters, no_room, outside
from hanlin.generate.runner import Chunk, Runner
from hanlin.tokenizer.tokenizer import Tokenizer

ROWS_AT_ONCE = {"cpu": 16, "cuda": 64, "mps": 16}
"""Texts that run at once, unless one prompt has more beams."""
READ_AT_ONCE = 512
"""Tokens of a prompt that one pass reads."""


@dataclass(frozen=True)
class BeamText:
    """A continuation that was found, without the prompt; the rest as `Hypothesis`."""

    text: str
    token_ids: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    log_probability: float
    score: float
    finish_reason: Literal["stop", "length"]
    group: int = 0


def likeliest_texts(
    runner: Runner,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    config: BeamConfig,
    *,
    max_new_tokens: int,
    adapter: str | None = None,
    banned: Sequence[int] = (),
    title: str = "",
) -> list[list[BeamText]]:
    """Of each prompt, up to `config.best` continuations, best first; with a `title`, progress is shown.

    A text ends with one of the tokenizer's stop tokens, after `max_new_tokens`, or where the window is full; the prompt's
    length counts for the window only. Log-probabilities are of the distribution over the tokenizer's vocabulary.
    What the runner holds stays: the search has a cache of its own, of `config.beams` texts or several times as many.
    banned: tokens that are never written. Raises `RequestError` for a prompt that is empty, holds ids outside the
    vocabulary or fills the window, for an adapter that is not there, and for lengths that contradict each other.
    """
    config.check_length(max_new_tokens)
    prefix, room = _check(runner, tokenizer, prompts, adapter)
    found: list[list[BeamText]] = [[]] * len(prompts)
    if not prompts:
        return found
    at_once = max(1, ROWS_AT_ONCE[runner.device.type] // config.beams)
    own = runner.another(min(at_once, len(prompts)) * config.beams)
    order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))
    batches = [order[first : first + at_once] for first in range(0, len(order), at_once)]
    for numbers in track(batches, title, len(batches)) if title else batches:
        begun = [list(prompts[number]) for number in numbers]
        rows = SlotRows(own, [[*prefix, *ids] for ids in begun], adapter, tokenizer.vocab_size)
        hypotheses = beam_search(
            rows, begun, config, ends=tokenizer.stop_ids,
            limits=[min(max_new_tokens, room - len(ids)) for ids in begun],
            banned=banned, tokenizer=tokenizer, device=runner.device,
        )  # fmt: skip
        for number, those in zip(numbers, hypotheses, strict=True):
            found[number] = [beam_text(tokenizer, one) for one in those]
    return found


class SlotRows:
    """`Rows` over a runner: a row is a slot. Prompts are read, but for their last tokens, when it is made."""

    def __init__(
        self, runner: Runner, prompts: Sequence[Sequence[int]], adapter: str | None, vocab_size: int
    ) -> None:
        """runner: of `config.beams` slots for each prompt or more; what they hold is forgotten."""
        self._runner, self._adapter, self._vocab_size = runner, adapter, vocab_size
        self._rows = list(range(len(prompts)))
        for slot in range(runner.slots):
            runner.truncate(slot, 0)
        for chunks in self._chunks(prompts):
            runner.forward(chunks)

    def _chunks(self, prompts: Sequence[Sequence[int]]) -> Iterator[list[Chunk]]:
        pending = [(slot, ids[:-1]) for slot, ids in zip(self._rows, prompts, strict=True)]
        for first in range(0, max(len(ids) for _, ids in pending), READ_AT_ONCE):
            parts = [(slot, ids[first : first + READ_AT_ONCE]) for slot, ids in pending]
            yield [Chunk(slot, part, "none", self._adapter) for slot, part in parts if part]

    def logits(self, last_R: Tensor) -> Tensor:
        """As `Rows`."""
        tokens = zip(self._rows, last_R.tolist(), strict=True)
        logits_RV = self._runner.forward([Chunk(slot, [id], "last", self._adapter) for slot, id in tokens])
        return logits_RV[:, : self._vocab_size]

    def keep(self, rows_R: Tensor) -> None:
        """As `Rows`. A text stays in its slot; only one that comes several times is copied, once for each further time."""
        wanted = [self._rows[row] for row in rows_R.tolist()]
        free = sorted(set(range(self._runner.slots)) - set(wanted), reverse=True)
        self._rows = []
        for slot in wanted:
            target = slot
            if slot in self._rows:
                target = free.pop()
                self._runner.copy(slot, target, self._runner.length(slot))
            self._rows.append(target)


def _check(
    runner: Runner, tokenizer: Tokenizer, prompts: Sequence[Sequence[int]], adapter: str | None
) -> tuple[list[int], int]:
    """The virtual ids that the adapter puts before every prompt, and how many tokens prompt and text may have."""
    prefix, taken = list[int](), 0
    if adapter is not None:
        if runner.adapters is None:
            raise no_adapters(adapter)
        runner.adapters.check(adapter)
        prefix, taken = runner.adapters.prompt_ids(adapter), runner.adapters.positions(adapter)
    room = runner.window - taken
    for ids in prompts:
        if not ids:
            raise empty_prompt()
        if len(ids) >= room:
            raise no_room(len(ids), room)
        if not all(0 <= id < tokenizer.vocab_size for id in ids):
            raise outside(tokenizer.vocab_size)
    return prefix, room


def beam_text(tokenizer: Tokenizer, found: Hypothesis) -> BeamText:
    """A hypothesis as text."""
    return BeamText(
        tokenizer.decode(found.ids),
        tuple(found.ids),
        found.log_probabilities,
        found.log_probability,
        found.score,
        found.finish_reason,
        found.group,
    )

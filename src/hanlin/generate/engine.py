"""The only engine: requests join and leave a running batch at any step.

Each step is one call of the runner for whatever there is to compute: the next token of every text, perhaps with
guesses at the tokens after it, and pieces of prompts. N asked positions, B texts, V vocabulary.
"""

import itertools
import threading
import time
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from hanlin.generate import refusals
from hanlin.generate.budget import affordable_tokens
from hanlin.generate.generation import Generation, Piece
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.proposals import Proposer
from hanlin.generate.runner import Runner
from hanlin.generate.sampling import choose
from hanlin.generate.schedule import Schedule
from hanlin.generate.slots import Slots
from hanlin.generate.speculation import Attempt, Speculation
from hanlin.model.adapters.adapters import Adapters
from hanlin.tokenizer.tokenizer import Tokenizer

__all__ = ["Engine", "Generation", "Piece"]

CHUNK = {"cpu": 64, "cuda": 512, "mps": 256}
"""Prompt tokens of a step while texts run, for which these wait: on two CPU cores few are read as fast as many."""


class Engine:
    """Generates for up to `max_rows` requests at once; further ones wait in order.

    `submit`, `check_prompt`, `cancel` and `busy` may be used from any thread. `step` is for one thread at a time:
    whoever drives the engine, and who alone may change `adapters`, between steps.
    """

    def __init__(
        self,
        runner: Runner,
        tokenizer: Tokenizer,
        max_rows: int = 8,
        cache_tokens: int | None = None,
        chunk: int | None = None,
        proposer: Proposer | None = None,
    ) -> None:
        """cache_tokens: the most that slots hold together; default: all rows' windows, or what a part of the free
        memory holds (`affordable_tokens`). chunk: prompt tokens of a step while texts run (`CHUNK`). proposer:
        guesses tokens ahead, which changes the speed of texts and nothing else.

        Raises `CheckpointError` for a tokenizer with more tokens than the model.
        """
        assert max_rows >= 1
        if runner.vocab_size < tokenizer.vocab_size:
            raise refusals.wrong_tokenizer(runner.vocab_size, tokenizer.vocab_size)
        self.runner = runner
        self.tokenizer = tokenizer
        self.max_rows = min(max_rows, runner.slots)
        self.cache_tokens = cache_tokens or affordable_tokens(runner, self.max_rows)
        self.window = min(runner.window, self.cache_tokens)
        self._slots = Slots(runner, self.cache_tokens)
        self._schedule = Schedule(self._slots, self.max_rows, chunk or CHUNK[runner.device.type])
        self._proposer, self._speculation = proposer, Speculation(proposer)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._waiting: deque[Generation] = deque()
        self._cancelled: set[int] = set()

    @property
    def adapters(self) -> Adapters | None:
        """Those that requests may name."""
        return self.runner.adapters

    @property
    def cache_bytes(self) -> int:
        """The most memory that cached tokens take."""
        return self.cache_tokens * self.runner.bytes_per_token

    @property
    def held_tokens(self) -> int:
        """Tokens that are cached now, idle prefixes included."""
        return self._slots.held

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._schedule.rows or self._waiting)

    def submit(
        self, prompt_ids: Sequence[int], parameters: SamplingParameters, adapter: str | None = None
    ) -> Generation:
        """Ask for a continuation of `prompt_ids`, by the base or an adapter; it begins at one of the next steps.

        It ends with "length" after `max_new_tokens` or when the window is full, and as "cancelled" when its
        adapter is removed. Raises as `check_prompt`.
        """
        prompt = tuple(prompt_ids)
        self.check_prompt(prompt, adapter)
        room = self.window - self._taken(adapter) - len(prompt)
        limit = min(parameters.max_new_tokens, room)
        generation = Generation(next(self._numbers), prompt, parameters, limit, self.tokenizer, adapter)
        with self._lock:
            self._waiting.append(generation)
        return generation

    def check_prompt(self, prompt_ids: Sequence[int], adapter: str | None = None) -> None:
        """Raise `RequestError` when a prompt is empty, holds ids outside the vocabulary or fills the window
        or the memory for cached tokens, and for an adapter that is not there."""
        if not prompt_ids:
            raise refusals.empty_prompt()
        length, taken = len(prompt_ids), self._taken(adapter)
        if length >= self.runner.window - taken:
            raise refusals.no_room(length, self.runner.window - taken)
        if length >= self.cache_tokens - taken:
            raise refusals.no_memory(length, self.cache_tokens - taken)
        if min(prompt_ids) < 0 or max(prompt_ids) >= self.tokenizer.vocab_size:
            raise refusals.outside(self.tokenizer.vocab_size)

    def cancel(self, generation: Generation) -> None:
        """End `generation` at the next step with the reason "cancelled"; one that has ended stays as it
        is."""
        with self._lock:
            if generation.finish_reason is None:
                self._cancelled.add(generation.id)

    def forget(self) -> None:
        """Forget kept prefixes: for whoever changes weights, or uses the runner, between steps."""
        self._slots.forget()

    def another(self, max_rows: int) -> "Engine":
        """An engine over the same weights that has requests of its own."""
        slots = 2 * max_rows  # as many again for the prefixes of texts that have ended
        proposer = None if self._proposer is None else self._proposer.another(slots)
        return Engine(self.runner.another(slots), self.tokenizer, max_rows, proposer=proposer)

    @torch.inference_mode()
    def step(self) -> list[Piece]:
        """Begin waiting requests while there are rows and memory for them, then compute: a token or more of
        each text, and pieces of the prompts that are not read yet.

        Gives a piece, perhaps with empty text, for every request that advanced or ended. Raises
        `CheckpointError` when the model gives no finite logits. After an exception nothing runs or waits
        any more; all that did is "cancelled".
        """
        try:
            pieces = self._drop_cancelled()
            self._admit()
            if self._schedule.rows:
                pieces += self._compute()
            return pieces
        except BaseException:
            self._abandon()
            raise

    def _drop_cancelled(self) -> list[Piece]:
        if not self._cancelled and self.adapters is None:
            return []
        with self._lock:
            cancelled, self._cancelled = self._cancelled, set()
            running = {row.generation: row.slot.adapter for row in self._schedule.rows}
            cancelled |= {one.id for one in self._waiting if one.adapter and not self._config(one.adapter)}
            cancelled |= {one.id for one, was in running.items() if was is not self._config(one.adapter)}
            waiting = [one for one in self._waiting if one.id in cancelled]
            self._waiting = deque(one for one in self._waiting if one.id not in cancelled)
        pieces = [one.cancel() for one in (*running, *waiting) if one.id in cancelled]
        self._schedule.leave()
        if self.adapters is not None:
            self._slots.forget(but=[None, *self.adapters.configs.values()])
        return pieces

    def _admit(self) -> None:
        """Begin waiting requests in order."""
        while self._waiting:
            one = self._waiting[0]
            if not self._schedule.has_room(self._taken(one.adapter) + one.prompt_tokens + one.new_tokens):
                return
            with self._lock:
                self._waiting.popleft()
            adapter = virtual = None
            if self.adapters is not None and one.adapter is not None:
                adapter, virtual = self.adapters.configs[one.adapter], self.adapters.prompt_ids(one.adapter)
            ids = [*(virtual or ()), *one.prompt_ids, *one.token_ids]
            one.begun_at = one.begun_at or time.perf_counter()
            held = self._schedule.begin(one, ids, adapter)
            if not one.preemptions:
                one.cached_tokens = max(0, held - len(virtual or ()))

    def _put_back(self, generation: Generation) -> None:
        with self._lock:
            self._waiting.appendleft(generation)

    def _compute(self) -> list[Piece]:
        parts = self._schedule.parts(self._put_back)
        needed = sum(len(part.ids) for part in parts)
        attempts = self._speculation.attempts(parts, self._slots.spare - needed)
        if guessed := sum(len(one.guesses) for one in attempts):
            self._slots.reserve(needed + guessed)
        logits_NV = self.runner.forward([one.chunk for one in attempts])[:, : self.tokenizer.vocab_size]
        for part in parts:
            part.row.slot.held += len(part.ids)
        with self.runner.quiet():
            pieces = self._draw([one for one in attempts if one.part.whole], logits_NV)
        self._schedule.leave()
        return pieces

    def _draw(self, attempts: Sequence[Attempt], logits_NV: Tensor) -> list[Piece]:
        """The next token of each text, and further ones for as long as they are those that were guessed."""
        firsts = itertools.accumulate((1 + len(one.guesses) for one in attempts), initial=0)
        going = list(zip(attempts, firsts, strict=False))
        for ahead in itertools.count():
            if not going:
                break
            asked = [first + ahead for _, first in going]
            logits_BV = logits_NV if len(asked) == len(logits_NV) else logits_NV[asked]
            chosen = choose(logits_BV, [one.part.row.generation for one, _ in going])
            going = [pair for pair, token in zip(going, chosen, strict=True) if pair[0].take(token)]
        pieces = []
        for one in attempts:
            if one.guesses:
                self._slots.truncate(one.part.row.slot, len(one.part.row.slot.ids) - 1)
            self._speculation.learn(one)
            assert one.piece is not None
            pieces.append(one.piece)
        return pieces

    def _taken(self, adapter: str | None) -> int:
        """How much of the window an adapter takes. Raises `RequestError` for one that is not there."""
        if adapter is None:
            return 0
        if self.adapters is None:
            raise refusals.no_adapters(adapter)
        self.adapters.check(adapter)
        return self.adapters.positions(adapter)

    def _config(self, adapter: str | None) -> object:
        """What an adapter is now: one that was replaced under its name is another."""
        return None if adapter is None or self.adapters is None else self.adapters.configs.get(adapter)

    def _abandon(self) -> None:
        with self._lock:
            ended = [*(row.generation for row in self._schedule.rows), *self._waiting]
            self._schedule.rows, self._waiting, self._cancelled = [], deque(), set()
        for generation in ended:
            if generation.finish_reason is None:
                generation.cancel()
        self._slots.clear()

"""One thread owns the engine; requests come from the event loop and pieces go back to it.

    event loop                                  worker thread
    submit()  -> Submission --- inbox --------> engine.submit
    async for event in submission.events() <--- engine.step, once for all that run
    submission.cancel() ------- inbox --------> engine.cancel

Everything about a `Submission` but its generations is touched on the event loop only, and the engine on
the worker thread only, so neither needs a lock.
"""

import asyncio
import contextlib
import logging
import math
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from hanlin.base.errors import HanlinError
from hanlin.generate.engine import Engine
from hanlin.generate.engine_protocol import TextEngine
from hanlin.generate.generation import Generation, Piece
from hanlin.generate.parameters import SamplingParameters
from hanlin.serve.metrics import Metrics
from hanlin.serve.outbox import Event, Outbox
from hanlin.serve.problems import ApiProblem, from_hanlin, overloaded, stopping, timed_out, unexpected
from hanlin.serve.rates import Bucket
from hanlin.tokenizer.tokenizer import Tokenizer

log = logging.getLogger("hanlin.serve")


@dataclass(eq=False)
class Choice:
    """One generation of a submission."""

    submission: "Submission"
    index: int
    prompt_ids: Sequence[int]
    parameters: SamplingParameters
    generation: Generation | None = None
    last_at: float = 0.0
    new_tokens: int = 0
    begun: bool = False
    ended: bool = False


@dataclass(eq=False)
class Submission:
    """The generations of one HTTP request; they share a queue, a deadline and a fate."""

    batcher: "Batcher"
    request_id: str
    timeout: float
    adapter: str | None = None
    allowance: Bucket | None = None
    """From which the tokens are taken, once all has ended."""
    choices: list[Choice] = field(default_factory=list)
    queue: asyncio.Queue[Event | ApiProblem] = field(default_factory=asyncio.Queue)
    submitted_at: float = field(default_factory=time.perf_counter)
    deadline: float = 0.0

    @property
    def tokenizer(self) -> Tokenizer:
        """Whose tokens the texts are made of."""
        return self.batcher.tokenizer

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts."""
        return sum(len(choice.prompt_ids) for choice in self.choices)

    @property
    def new_tokens(self) -> int:
        """Tokens generated so far."""
        return sum(choice.new_tokens for choice in self.choices)

    async def events(self) -> AsyncIterator[Event]:
        """The events of all choices until each has finished.

        Raises `ApiProblem` when the time is up or the engine failed; nothing of the submission runs after.
        """
        open_choices = len(self.choices)
        while open_choices:
            try:
                async with asyncio.timeout_at(self.deadline):
                    event = await self.queue.get()
            except TimeoutError:
                self.batcher.drop(self, "timeout")
                raise timed_out(self.timeout) from None
            if isinstance(event, ApiProblem):
                raise event
            open_choices -= event.finish_reason is not None
            yield event

    def pay(self) -> None:
        """Take what was used from the allowance of whoever asked."""
        if self.allowance is not None:
            self.allowance.take(self.prompt_tokens + self.new_tokens)

    def cancel(self) -> None:
        """Stop what still runs; harmless when all has finished."""
        self.batcher.drop(self, "cancelled")


class Batcher:
    """Runs submissions on an engine in a thread of its own."""

    def __init__(
        self, engine: TextEngine, max_queue: int, timeout: float, metrics: Metrics, moment: float = 0.0
    ) -> None:
        """moment: as for `Outbox`."""
        self._engine = engine
        self._max_active = engine.max_rows + max_queue
        self._timeout = timeout
        self._metrics = metrics
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._outbox: Outbox[Choice] = Outbox(moment)  # worker thread only
        self._owners: dict[int, Choice] = {}  # by generation id; worker thread only
        self._submissions: set[Submission] = set()  # event loop only, like the two below
        self._active = 0
        self._mean_seconds = 1.0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # ---- event loop side

    @property
    def tokenizer(self) -> Tokenizer:
        """The engine's."""
        return self._engine.tokenizer

    @property
    def active(self) -> int:
        """Generations submitted and not finished."""
        return self._active

    @property
    def alive(self) -> bool:
        """Whether the worker runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the worker; call on the event loop that will submit."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="hanlin-engine", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Fail what still runs, let the current step end, and end the worker."""
        for submission in list(self._submissions):
            self._fail(submission, stopping())
        thread, self._thread = self._thread, None
        self._inbox.put(None)
        if thread is not None:
            await asyncio.to_thread(thread.join)

    def submit(
        self,
        requests: Sequence[tuple[Sequence[int], SamplingParameters]],
        request_id: str,
        allowance: Bucket | None = None,
        adapter: str | None = None,
    ) -> Submission:
        """Queue one generation per (prompt ids, parameters); raise `ApiProblem` 429 when the queue is full.

        allowance: from which the tokens are taken at the end. adapter: which of the model's; None: the base.
        """
        assert self._loop is not None
        if not self.alive:
            raise stopping()
        if self._active + len(requests) > self._max_active:
            raise overloaded(self._seconds_until_free())
        deadline = self._loop.time() + self._timeout
        submission = Submission(self, request_id, self._timeout, adapter, allowance, deadline=deadline)
        for index, (prompt_ids, parameters) in enumerate(requests):
            submission.choices.append(Choice(submission, index, prompt_ids, parameters))
        self._submissions.add(submission)
        self._active += len(requests)
        self._metrics.prompt_tokens.inc(submission.prompt_tokens)
        self._metrics.waiting.inc(len(requests))
        self._inbox.put(partial(self._admit, submission))
        return submission

    def drop(self, submission: Submission, reason: str) -> None:
        """End what still runs of a submission, for `reason`."""
        if submission not in self._submissions:
            return
        for choice in submission.choices:
            self._end(choice, reason)
        self._inbox.put(partial(self._cancel, submission))

    def _fail(self, submission: Submission, problem: ApiProblem) -> None:
        if submission in self._submissions:
            submission.queue.put_nowait(problem)
            self.drop(submission, "error")

    def _seconds_until_free(self) -> int:
        """When a place in the queue should be free, from how long generations have taken lately."""
        return max(1, min(60, math.ceil(self._mean_seconds / self._engine.max_rows)))

    def _take(self, at: float, events: list[tuple[Choice, Event]]) -> None:
        """Book the events of one engine step, made at time `at`, and hand them to their submissions."""
        for choice, event in events:
            if choice.ended:
                continue
            self._book_tokens(choice, event.new_tokens, at)
            if event.finish_reason is not None:
                self._end(choice, event.finish_reason)
            choice.submission.queue.put_nowait(event)

    def _book_tokens(self, choice: Choice, new_tokens: int, at: float) -> None:
        if not choice.begun:
            choice.begun = True
            self._metrics.waiting.dec()
            self._metrics.running.inc()
            self._metrics.first_token.observe(at - choice.submission.submitted_at)
            if choice.generation is not None and choice.generation.begun_at is not None:
                waited = choice.generation.begun_at - choice.submission.submitted_at
                self._metrics.queue_seconds.observe(waited)
        elif new_tokens > choice.new_tokens:
            count = new_tokens - choice.new_tokens
            for _ in range(count):  # those that came together share the time
                self._metrics.inter_token.observe((at - choice.last_at) / count)
        self._metrics.new_tokens.inc(new_tokens - choice.new_tokens)
        choice.new_tokens, choice.last_at = new_tokens, at

    def _end(self, choice: Choice, reason: str) -> None:
        if choice.ended:
            return
        choice.ended = True
        self._active -= 1
        (self._metrics.running if choice.begun else self._metrics.waiting).dec()
        self._book_generation(choice.generation)
        self._metrics.finished.labels(reason).inc()
        self._mean_seconds += 0.1 * (
            time.perf_counter() - choice.submission.submitted_at - self._mean_seconds
        )
        if all(other.ended for other in choice.submission.choices):
            self._submissions.discard(choice.submission)
            choice.submission.pay()

    def _book_generation(self, generation: Generation | None) -> None:
        if generation is None:
            return
        self._metrics.cached_tokens.inc(generation.cached_tokens)
        self._metrics.preemptions.inc(generation.preemptions)
        self._metrics.proposed.inc(generation.proposed)
        self._metrics.accepted.inc(generation.accepted)
        if isinstance(self._engine, Engine):
            self._metrics.cache_tokens.set(self._engine.held_tokens)

    # ---- worker side

    def _work(self) -> None:
        going_on = True
        while going_on:
            try:
                going_on = self._obey()
                if going_on and self._engine.busy:
                    self._advance()
            except Exception:
                self._recover()

    def _obey(self) -> bool:
        """Carry out what came in, waiting for it when there is nothing to generate; False means stop."""
        try:
            command = self._inbox.get(block=not self._engine.busy)
            while command is not None:
                command()
                command = self._inbox.get_nowait()
        except queue.Empty:
            return True
        return False

    def _admit(self, submission: Submission) -> None:
        try:
            for choice in submission.choices:
                choice.generation = self._engine.submit(
                    choice.prompt_ids, choice.parameters, submission.adapter
                )
                self._owners[choice.generation.id] = choice
        except HanlinError as error:
            self._on_loop(self._fail, submission, from_hanlin(error, None))
        except Exception:
            self._on_loop(self._fail, submission, unexpected(submission.request_id))
            raise

    def _cancel(self, submission: Submission) -> None:
        for choice in submission.choices:
            if choice.generation is not None and self._owners.pop(choice.generation.id, None) is not None:
                self._engine.cancel(choice.generation)

    def _advance(self) -> None:
        for piece in self._engine.step():
            if (owned := self._owned(piece)) is not None:
                self._outbox.add(*owned)
        if self._outbox.is_due:
            self._on_loop(self._take, time.perf_counter(), self._outbox.take())

    def _owned(self, piece: Piece) -> tuple[Choice, Event] | None:
        """A piece with the choice it belongs to; None if that was cancelled meanwhile."""
        generation = piece.generation
        choice = self._owners.get(generation.id)
        if choice is None:
            return None
        if piece.finish_reason is not None:
            del self._owners[generation.id]
        event = Event(choice.index, piece.text, generation.new_tokens, piece.finish_reason, piece.chosen)
        return choice, event

    def _recover(self) -> None:
        """After a failure of the engine, which then runs nothing: answer 500 to all that it ran, and go on."""
        victims = list(dict.fromkeys(choice.submission for choice in self._owners.values()))
        names = ", ".join(submission.request_id for submission in victims)
        log.exception("the engine failed; requests ended with it: %s", names or "none")
        self._owners.clear()
        self._outbox.take()
        for submission in victims:
            self._on_loop(self._fail, submission, unexpected(submission.request_id))

    def _on_loop(self, call: Callable[..., None], *arguments: object) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for an answer any more
            self._loop.call_soon_threadsafe(call, *arguments)

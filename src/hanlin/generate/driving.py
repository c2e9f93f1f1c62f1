"""Stepping one engine for several askers: whoever waits for a text also advances those of the others."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from hanlin.base.errors import RequestError
from hanlin.base.language import Text
from hanlin.generate.conversation import ChatPrompt
from hanlin.generate.engine_protocol import TextEngine
from hanlin.generate.generation import Generation, Piece
from hanlin.generate.parameters import SamplingParameters


@dataclass(frozen=True)
class Request:
    """What is asked of the engine: what to continue, how, and by which adapter."""

    prompt: ChatPrompt
    parameters: SamplingParameters
    adapter: str | None = None

    def drawn(self, n: int) -> "list[Request]":
        """It `n` times: the k-th, from 0, with the seed k further on, if there is one. Raises `RequestError` for n < 1."""
        check_number(n)
        seed = self.parameters.seed
        if seed is None:
            return [self] * n
        seeds = [(seed + k) % 2**63 for k in range(n)]
        return [replace(self, parameters=self.parameters.changed({"seed": one})) for one in seeds]


def check_number(n: int) -> None:
    """Raise `RequestError` unless there can be `n` texts of a prompt."""
    if n < 1:
        raise RequestError(
            Text(f"n = {n}: n must be >= 1.", f"n = {n} 无效：n 须 >= 1。"),
            Text("Ask for 1 or more.", "请至少要 1 个。"),
        )


class Driver:
    """Drives an engine from any number of threads. Leaving a loop early cancels what it waited for."""

    def __init__(self, engine: TextEngine) -> None:
        self.engine = engine
        self._stepping = threading.Lock()
        self._sorting = threading.Lock()
        self._mailboxes: dict[int, deque[Piece]] = {}

    def stream(self, request: Request) -> Iterator[Piece]:
        """The pieces of one generation as they come. Raises as `TextEngine.submit`, when the first is asked for."""
        with self._sorting:  # another thread's step may advance it at once: its pieces wait for their mailbox
            generation = self._submit(request)
            mailbox = self._mailboxes[generation.id] = deque[Piece]()
        ended = False
        try:
            while not ended:
                # Within the lock: another thread's step may have ended this one and not yet sorted it out.
                with self._stepping:
                    if not mailbox and generation.finish_reason is None:
                        self._step()
                    failed = not mailbox and generation.finish_reason is not None
                if failed:  # the engine, in another thread's step
                    yield Piece(generation, "", (), "cancelled")
                    return
                while mailbox:
                    ended = mailbox[0].finish_reason is not None
                    yield mailbox.popleft()
        finally:
            self.engine.cancel(generation)
            del self._mailboxes[generation.id]

    def finish(self, requests: Iterable[Request], ahead: int) -> Iterator[tuple[Request, Generation]]:
        """Requests in order, with their generations when they have ended; up to `ahead` are with the engine at once.

        Raises as `TextEngine.submit`, when the one before is asked for at the earliest.
        """
        pending = deque[tuple[Request, Generation]]()
        rest = iter(requests)
        try:
            while True:
                while len(pending) < ahead and (request := next(rest, None)) is not None:
                    pending.append((request, self._submit(request)))
                if not pending:
                    return
                self._wait(pending[0][1])
                yield pending.popleft()
        finally:
            for _, generation in pending:
                self.engine.cancel(generation)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, the engine is idle and nobody else steps it: what ran before has ended."""
        with self._stepping:
            while self.engine.busy:
                self._step()
            yield

    def _submit(self, request: Request) -> Generation:
        return self.engine.submit(request.prompt.ids, request.parameters, request.adapter)

    def _wait(self, generation: Generation) -> None:
        while True:
            with self._stepping:
                if generation.finish_reason is not None:
                    return
                self._step()

    def _step(self) -> None:
        pieces = self.engine.step()
        with self._sorting:
            for piece in pieces:
                mailbox = self._mailboxes.get(piece.generation.id)
                if mailbox is not None:
                    mailbox.append(piece)

"""How much a key may ask for in a minute: buckets that fill steadily (token buckets)."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from hanlin.serve.keys import Key


class Bucket:
    """Fills with `per_minute` a minute, up to that much; what is taken may leave it below zero, and then nothing comes out
    until it has filled again. For any thread."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self._clock, self._lock = clock, threading.Lock()
        self._level, self._at = per_minute, clock()

    def wait(self, amount: float) -> float:
        """Seconds until `amount` is there (or it is full, if that is more than it holds); 0: now."""
        with self._lock:
            self._fill()
            missing = min(amount, self.per_minute) - self._level
            return max(0.0, missing * 60 / self.per_minute)

    def take(self, amount: float) -> None:
        """Take it, whether it is there or not."""
        with self._lock:
            self._fill()
            self._level -= amount

    @property
    def left(self) -> int:
        """What can be taken now, in whole numbers."""
        with self._lock:
            self._fill()
            return max(0, int(self._level))

    def _fill(self) -> None:
        now = self._clock()
        self._level = min(self.per_minute, self._level + (now - self._at) * self.per_minute / 60)
        self._at = now


@dataclass(frozen=True)
class Allowance:
    """What is left of a key's minute; None: without limit."""

    requests: Bucket | None
    tokens: Bucket | None

    def headers(self) -> dict[str, str]:
        """As the OpenAI API names them."""
        named = {"requests": self.requests, "tokens": self.tokens}
        return {
            f"x-ratelimit-{what}-{name}": str(value)
            for name, bucket in named.items()
            if bucket is not None
            for what, value in (("limit", int(bucket.per_minute)), ("remaining", bucket.left))
        }


class Rates:
    """The allowances of keys, by digest. A key whose limits are changed begins a new minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._held: dict[str, tuple[Key, Allowance]] = {}

    def of(self, key: Key) -> Allowance:
        """That of a key."""
        with self._lock:
            held = self._held.get(key.digest)
            if held is None or held[0] != key:
                held = self._held[key.digest] = (key, self._fresh(key))
            return held[1]

    def _fresh(self, key: Key) -> Allowance:
        requests, tokens = key.requests_per_minute, key.tokens_per_minute
        return Allowance(
            None if requests is None else Bucket(requests, self._clock),
            None if tokens is None else Bucket(tokens, self._clock),
        )

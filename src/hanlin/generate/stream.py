"""Text out of tokens as they come: whole characters only, and nothing of a stop text."""

import codecs
from collections.abc import Sequence

from hanlin.tokenizer.tokenizer import Tokenizer


class Detokenizer:
    """Turns ids into pieces of text whose concatenation is `tokenizer.decode` of all ids.

    A piece never ends within a character. Bytes that can still become a character are held back; `finish`
    gives U+FFFD for what never completed.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._ids: list[int] = []
        self._start = self._read = 0

    def push(self, id: int) -> str:
        """The text that is certain now that `id` came; special tokens have none."""
        if id in self._tokenizer.special_ids:
            return ""
        if self._tokenizer.is_byte_level:
            return self._utf8.decode(self._tokenizer.token_bytes(id))
        self._ids.append(id)
        return self._new_text(held_back="\ufffd")

    def finish(self) -> str:
        """What was held back, at the end of the text."""
        return self._utf8.decode(b"", final=True) if self._tokenizer.is_byte_level else self._new_text(None)

    def _new_text(self, held_back: str | None) -> str:
        """Where a token's text depends on those before it: decode from the piece before, and take what is
        new."""
        known = self._tokenizer.decode(self._ids[self._start : self._read])
        text = self._tokenizer.decode(self._ids[self._start :])
        if len(text) <= len(known) or (held_back is not None and text.endswith(held_back)):
            return ""
        self._start, self._read = self._read, len(self._ids)
        return text[len(known) :]


class StopTexts:
    """Lets text through until one of `stops` is complete; the text before it is given exactly.

    Text that may be the beginning of a stop is held back. What comes out does not depend on how the text
    was cut into pieces: the stop that is complete first counts, of several the one that began first.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.reached = False

    def push(self, text: str) -> str:
        """The text that may be shown now that `text` came; sets `reached` when a stop is complete."""
        assert not self.reached
        if not self._stops:
            return text
        text = self._held + text
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.reached, self._held = True, ""
            return text[: min(found)[1]]
        size = max(self._overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - size :]
        return text[: len(text) - size]

    def finish(self) -> str:
        """What was held back, when no stop came."""
        held, self._held = self._held, ""
        return held

    @staticmethod
    def _overlap(text: str, stop: str) -> int:
        """Length of the longest end of `text` that begins `stop`."""
        return next(
            size for size in range(min(len(text), len(stop) - 1), -1, -1) if text.endswith(stop[:size])
        )

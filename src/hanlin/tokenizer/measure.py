"""What a tokenizer does to real text: fertility by script, round trip, and how much of the vocabulary it
uses."""

import itertools
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from hanlin.tokenizer.tokenizer import Tokenizer

SCRIPTS = ("latin", "han", "digits", "other")
_SAMPLES = 5
_LONGEST = 1_000_000


class TokenizerReport(BaseModel):
    """Measures over `documents` texts. `tokens_per_character` is empty for vocabularies that are not
    byte-level."""

    documents: int
    characters: int
    bytes: int
    tokens: int
    bytes_per_token: float
    tokens_per_character: dict[str, float]
    characters_by_script: dict[str, int]
    round_trip_failures: int
    round_trip_samples: list[str]
    vocabulary_used: float
    encoder: str


def measure_tokenizer(
    tokenizer: Tokenizer, texts: Iterable[str], max_characters: int = 5_000_000
) -> TokenizerReport:
    """Encode and decode `texts` until `max_characters` have been seen, and count.

    `tokens_per_character[script]` is fertility: a token of n bytes counts 1/n for each byte to the script
    of the character that the byte belongs to. `vocabulary_used` is the share of ordinary tokens that
    occurred. A text that does not come back as it was counts in `round_trip_failures`, and the first few
    are shown.
    """
    counts = _Counts(tokenizer)
    for batch in _until(texts, max_characters):
        for text, ids in zip(batch, tokenizer.encode_batch(batch), strict=True):
            counts.add(text, ids)
    return counts.report()


class _Counts:
    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.documents = self.bytes = self.failures = 0
        self.samples: list[str] = []
        self.characters_S = np.zeros(len(SCRIPTS), dtype=np.int64)
        self.tokens_S = np.zeros(len(SCRIPTS))
        self.seen_V = np.zeros(tokenizer.vocab_size, dtype=np.int64)
        self.byte_level = tokenizer.is_byte_level
        if self.byte_level:
            lengths = [len(tokenizer.token_bytes(id)) for id in range(tokenizer.vocab_size)]
            self.lengths_V = np.array(lengths, dtype=np.int64)

    def add(self, text: str, ids: list[int]) -> None:
        encoded = text.encode()
        self.documents += 1
        self.bytes += len(encoded)
        ids_T = np.array(ids, dtype=np.int64)
        np.add.at(self.seen_V, ids_T, 1)
        scripts_C, sizes_C = _scripts(text)
        self.characters_S += np.bincount(scripts_C, minlength=len(SCRIPTS))
        intact = self.tokenizer.decode(ids, skip_special=False) == text
        if not intact:
            self.failures += 1
            self.samples += [text[:200]] * (len(self.samples) < _SAMPLES)
        elif self.byte_level:
            lengths_T = self.lengths_V[ids_T]
            weights = np.repeat(1.0 / np.maximum(lengths_T, 1), lengths_T)
            if len(weights) == len(
                encoded
            ):  # a normalizer may have changed the text and decode to it all the same
                self.tokens_S += np.bincount(np.repeat(scripts_C, sizes_C), weights, minlength=len(SCRIPTS))

    def report(self) -> TokenizerReport:
        tokens = int(self.seen_V.sum())
        ordinary = self.tokenizer.vocab_size - len(self.tokenizer.special_ids)
        used = int(np.count_nonzero(self.seen_V))
        fertility = {
            script: round(float(self.tokens_S[n] / self.characters_S[n]), 4)
            for n, script in enumerate(SCRIPTS)
            if self.byte_level and self.characters_S[n]
        }
        return TokenizerReport(
            documents=self.documents,
            characters=int(self.characters_S.sum()),
            bytes=self.bytes,
            tokens=tokens,
            bytes_per_token=round(self.bytes / tokens, 4) if tokens else 0.0,
            tokens_per_character=fertility,
            characters_by_script={script: int(self.characters_S[n]) for n, script in enumerate(SCRIPTS)},
            round_trip_failures=self.failures,
            round_trip_samples=self.samples,
            vocabulary_used=round(used / ordinary, 4),
            encoder="tiktoken" if self.tokenizer.has_bulk_encoding else "tokenizers",
        )


def _until(texts: Iterable[str], max_characters: int) -> Iterable[list[str]]:
    batch: list[str] = []
    seen = held = 0
    for text in itertools.chain.from_iterable(map(_parts, texts)):
        batch.append(text)
        seen += len(text)
        held += len(text)
        if held > 200_000 or seen >= max_characters:
            yield batch
            batch, held = [], 0
        if seen >= max_characters:
            return
    if batch:
        yield batch


def _parts(text: str) -> list[str]:
    """`text`, in parts where it is so long that its ids would fill the memory."""
    return [text[start : start + _LONGEST] for start in range(0, max(len(text), 1), _LONGEST)]


def _scripts(text: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each character, its place in `SCRIPTS` and its number of bytes in UTF-8."""
    code_C = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    sizes_C = 1 + (code_C > 0x7F).astype(np.int64) + (code_C > 0x7FF) + (code_C > 0xFFFF)

    def within(*ranges: tuple[int, int]) -> NDArray[np.bool_]:
        inside = np.zeros(len(code_C), dtype=np.bool_)
        for first, last in ranges:
            inside |= (code_C >= first) & (code_C <= last)
        return inside

    latin = within((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x24F), (0x1E00, 0x1EFF))
    han = within(
        (0x2E80, 0x2FDF),
        (0x3005, 0x3007),
        (0x3021, 0x3029),
        (0x3400, 0x4DBF),
        (0x4E00, 0x9FFF),
        (0xF900, 0xFAFF),
        (0x20000, 0x3FFFF),
    )
    digits = within((0x30, 0x39), (0xFF10, 0xFF19))
    return np.select([latin, han, digits], [0, 1, 2], default=3).astype(np.int64), sizes_C
